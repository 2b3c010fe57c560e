"""Jobs as torchrun starts them: killed, stopped or failing, they end or go on as one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from support.pictures import save
from support.runs import assert_same_run

pytestmark = pytest.mark.distributed

ROOT = Path(__file__).parents[2]

PATIENCE = 240
"""Seconds."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of eight images each."""
    folder = tmp_path_factory.mktemp("data")
    for label in ("one", "other"):
        for number in range(8):
            pixels = np.random.default_rng([len(label), number]).integers(0, 256, (40 + number, 64, 3), np.uint8)
            save(folder / label / f"{number}.png", pixels)
    return folder


def start(*arguments: object, restarts: int = 0) -> subprocess.Popen[str]:
    """Two processes of `fit train`."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    launcher += ["--max-restarts", str(restarts), "--no-python", sys.executable, "-m", "fitcli", "train"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [*launcher, *map(str, arguments), "--device", "cpu", "--preset", "debug"]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=-1, stderr=-1, text=True)


def ended(job: subprocess.Popen[str]) -> tuple[int, list[str]]:
    """Exit code, and the lines of `fit` itself on stderr."""
    _, said = job.communicate(timeout=PATIENCE)
    return job.returncode, [line for line in said.splitlines() if line.startswith(("error: ", "interrupted: "))]


def steps(run: Path) -> int:
    try:
        lines = (run / "metrics.jsonl").read_text().splitlines()
    except FileNotFoundError:
        return 0
    return sum('"train"' in line for line in lines)


def wait_for(job: subprocess.Popen[str], happened: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not happened():
        assert job.poll() is None, job.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.01)


def worker(job: subprocess.Popen[str], rank: int) -> int:
    """The process of a rank."""
    for found in _children(job.pid):
        environment = Path(f"/proc/{found}/environ").read_bytes().split(b"\0")
        if f"RANK={rank}".encode() in environment:
            return found
    raise AssertionError(f"no process {rank}")


def _children(parent: int) -> Iterator[int]:
    yield from map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split())


SETTINGS = ("--batch-size", 4, "--epochs", 12, "--ema", 0.9, "--save-every", 2)


@pytest.fixture(scope="module")
def uninterrupted(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "whole"
    assert ended(start(data, "--out", run, *SETTINGS)) == (0, [])
    return run


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc to find the processes")
@pytest.mark.parametrize(("rank", "shard"), [(0, False), (1, False), (1, True)])
def test_a_killed_process_and_the_job_goes_on_by_itself(
    data: Path, uninterrupted: Path, tmp_path: Path, rank: int, shard: bool
) -> None:
    run = tmp_path / "run"
    job = start(data, "--out", run, *SETTINGS, *["--shard"] * shard, restarts=2)
    wait_for(job, lambda: steps(run) >= 7)
    os.kill(worker(job, rank), signal.SIGKILL)
    assert ended(job)[0] == 0
    if not shard:
        assert_same_run(run, uninterrupted)
    assert steps(run) == steps(uninterrupted) == 36


def test_stopped_by_a_signal_it_is_saved_once_and_can_go_on(data: Path, uninterrupted: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    job = start(data, "--out", run, *SETTINGS)
    wait_for(job, lambda: steps(run) >= 5)
    job.send_signal(signal.SIGTERM)
    code, said = ended(job)
    assert code != 0
    assert said == [f"interrupted: {run} was saved, continue with --resume"]
    assert ended(start(data, "--out", run, *SETTINGS, "--auto-resume")) == (0, [])
    assert_same_run(run, uninterrupted)


def test_out_of_time_torchrun_does_not_start_it_again(data: Path, uninterrupted: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert ended(start(data, "--out", run, *SETTINGS, "--max-minutes", 0, restarts=2)) == (0, [])
    assert steps(run) == 1
    assert ended(start(data, "--out", run, *SETTINGS, "--auto-resume")) == (0, [])
    assert_same_run(run, uninterrupted)


def test_what_fails_on_one_process_is_said_once(data: Path, tmp_path: Path) -> None:
    broken = tmp_path / "data"
    for image in data.rglob("*.png"):
        (broken / image.parent.name).mkdir(parents=True, exist_ok=True)
        pixels = image.read_bytes()
        # What has a header, so that only the process that reads it all finds out.
        (broken / image.parent.name / image.name).write_bytes(pixels[:-200] if image.stem == "5" else pixels)
    code, said = ended(start(broken, "--out", tmp_path / "run", "--batch-size", 4, "--epochs", 2))
    assert code == 1
    assert len(said) == 1, said
    assert "5.png" in said[0]
    code, said = ended(start(data, "--out", tmp_path / "other", "--batch-size", 3))
    assert (code, said) == (
        1,
        [
            "error: --batch-size 3: 2 processes cannot share a batch evenly; use a multiple of 2, or another number of "
            "processes"
        ],
    )
    assert not (tmp_path / "other").exists()
