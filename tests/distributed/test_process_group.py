"""Processes end or continue as one job when torchrun starts them and one is killed, stopped or fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.pictures import save
from support.processes import NEEDS_PROC, stop_until_noticed, worker
from support.runs import assert_same_run

from fitcli.distributed.process_group import processes, read_world
from fitcli.distributed.world import ALONE, Axis
from fitcli.errors import FitError

ROOT = Path(__file__).parents[2]

PATIENCE = 240
"""Longest wait for a job, in seconds."""


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
    """Start two processes of `fit train`."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    launcher += ["--max-restarts", str(restarts), "--no-python", sys.executable, "-m", "fitcli", "train"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [*launcher, *map(str, arguments), "--device", "cpu", "--preset", "debug"]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=-1, stderr=-1, text=True)


def wait_for_end(job: subprocess.Popen[str]) -> tuple[int, list[str]]:
    """Wait for the end; return the exit code and the lines of `fit` itself on stderr."""
    _, text = job.communicate(timeout=PATIENCE)
    return job.returncode, [line for line in text.splitlines() if line.startswith(("error: ", "interrupted: "))]


def steps(run: Path) -> int:
    """Return the number of training steps that a run has logged."""
    try:
        lines = (run / "metrics.jsonl").read_text().splitlines()
    except FileNotFoundError:
        return 0
    return sum('"train"' in line for line in lines)


def wait_until(job: subprocess.Popen[str], condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert job.poll() is None, job.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.01)


SETTINGS = ("--batch-size", 4, "--epochs", 12, "--ema", 0.9, "--save-every", 2)


@pytest.fixture(scope="module")
def uninterrupted(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "whole"
    assert wait_for_end(start(data, "--out", run, *SETTINGS)) == (0, [])
    return run


@pytest.mark.distributed
@NEEDS_PROC
@pytest.mark.parametrize(("rank", "shard"), [(0, False), (1, False), (1, True)])
def test_torchrun_restarts_a_job_of_which_a_process_was_killed(
    data: Path, uninterrupted: Path, tmp_path: Path, rank: int, shard: bool
) -> None:
    run = tmp_path / "run"
    job = start(data, "--out", run, *SETTINGS, *["--shard"] * shard, restarts=2)
    wait_until(job, lambda: steps(run) >= 7)
    os.kill(worker(job, rank), signal.SIGKILL)
    assert wait_for_end(job)[0] == 0
    if not shard:
        assert_same_run(run, uninterrupted)
    assert steps(run) == steps(uninterrupted) == 36


@pytest.mark.distributed
@NEEDS_PROC
@pytest.mark.parametrize("stopped", [0, 1])
def test_a_stopped_process_ends_the_job_which_can_go_on(
    data: Path, uninterrupted: Path, tmp_path: Path, stopped: int
) -> None:
    run = tmp_path / "run"
    job = start(data, "--out", run, *SETTINGS, "--timeout", 0.05)
    wait_until(job, lambda: steps(run) >= 3)
    stop_until_noticed(job, stopped)
    code, (line,) = wait_for_end(job)
    assert code == 1
    assert line.startswith(f"error: rank {stopped} (process ")
    assert "has given no sign of life for 3 seconds (--timeout)" in line
    assert wait_for_end(start(data, "--out", run, *SETTINGS, "--auto-resume")) == (0, [])
    assert_same_run(run, uninterrupted)


@pytest.mark.distributed
def test_a_job_stopped_by_a_signal_is_saved_once_and_can_go_on(data: Path, uninterrupted: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    job = start(data, "--out", run, *SETTINGS)
    wait_until(job, lambda: steps(run) >= 5)
    job.send_signal(signal.SIGTERM)
    code, lines = wait_for_end(job)
    assert code != 0
    assert lines == [f"interrupted: {run} was saved, continue with --resume"]
    assert wait_for_end(start(data, "--out", run, *SETTINGS, "--auto-resume")) == (0, [])
    assert_same_run(run, uninterrupted)


@pytest.mark.distributed
def test_torchrun_does_not_restart_a_job_that_is_out_of_time(data: Path, uninterrupted: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert wait_for_end(start(data, "--out", run, *SETTINGS, "--max-minutes", 0, restarts=2)) == (0, [])
    assert steps(run) == 1
    assert wait_for_end(start(data, "--out", run, *SETTINGS, "--auto-resume")) == (0, [])
    assert_same_run(run, uninterrupted)


@pytest.mark.distributed
def test_an_error_of_one_process_is_printed_once(data: Path, tmp_path: Path) -> None:
    broken = tmp_path / "data"
    for image in data.rglob("*.png"):
        (broken / image.parent.name).mkdir(parents=True, exist_ok=True)
        pixels = image.read_bytes()
        # The header stays, so that only the process that reads the pixels notices.
        (broken / image.parent.name / image.name).write_bytes(pixels[:-200] if image.stem == "5" else pixels)
    code, lines = wait_for_end(start(broken, "--out", tmp_path / "run", "--batch-size", 4, "--epochs", 2))
    assert code == 1
    assert len(lines) == 1, lines
    assert "5.png" in lines[0]
    code, lines = wait_for_end(start(data, "--out", tmp_path / "other", "--batch-size", 3))
    assert (code, lines) == (
        1,
        [
            "error: --batch-size 3: 2 processes cannot share a batch evenly; use a multiple of 2, or another number of "
            "processes"
        ],
    )
    assert not (tmp_path / "other").exists()


def test_the_environment_describes_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    assert read_world() is ALONE
    with processes("cpu") as world:
        assert world is ALONE
    values = {"RANK": "1", "WORLD_SIZE": "3", "LOCAL_RANK": "1", "MASTER_ADDR": "x", "MASTER_PORT": "1"}
    for name, value in {**values, "LOCAL_WORLD_SIZE": "2", "TORCHELASTIC_RESTART_COUNT": "4"}.items():
        monkeypatch.setenv(name, value)
    world = read_world()
    assert (world.rank, world.size, world.local_rank, world.local_size, world.restarts) == (1, 3, 1, 2, 4)
    assert (world.data, world.groups, world.is_first) == (Axis(1, 3), Axis(), False)
    with pytest.raises(FitError, match="--group-parallel 2: does not divide the 3 processes"), processes("cpu", 2):
        pass
