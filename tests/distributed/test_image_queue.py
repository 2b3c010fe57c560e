"""Processes share the images of a command: each is processed once, and the results are those of one process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from PIL import Image
from support.pictures import colored, save
from support.processes import NEEDS_PROC, stop_until_noticed
from torch.distributed import HashStore
from typer.testing import Result

from fitcli.distributed.image_queue import ImageQueue, ResultJournal
from fitcli.distributed.world import Axis, World

Fit = Callable[..., Result]
ROOT = Path(__file__).parent.parent.parent

PLAIN = "from fitcli.__main__ import main; main()"

RECORDED = """
import os, sys
from pathlib import Path
from fitcli.distributed import image_queue
from fitcli.__main__ import main
log, dies = Path({log!r}), {dies}
one = image_queue.ImageQueue._one
def recorded(self, index, do, journal):
    def noted(index):
        if self.world.rank == dies and any(f"{{dies}}:" in line for line in log.read_text().splitlines()):
            os.kill(os.getpid(), 9)
        result = do(index)
        with log.open("a") as file:
            file.write(f"{{self.world.rank}}:{{index}}\\n")
        return result
    return one(self, index, noted, journal)
image_queue.ImageQueue._one = recorded
main()
"""
"""Logs which rank processes which image; the rank `dies` is killed at its second image."""


def torchrun(processes: int, code: str, *arguments: object, restarts: int = 0) -> subprocess.CompletedProcess[str]:
    """Run Python in several processes."""
    job = start(processes, code, *arguments, restarts=restarts)
    out, err = job.communicate(timeout=250)
    return subprocess.CompletedProcess(job.args, job.returncode, out, err)


def start(processes: int, code: str, *arguments: object, restarts: int = 0) -> subprocess.Popen[str]:
    """Start Python in several processes."""
    launch = ["--standalone", "--no-python", "--nproc-per-node", str(processes), "--max-restarts", str(restarts)]
    command = [sys.executable, "-m", "torch.distributed.run", *launch, sys.executable, "-c", code, *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    return subprocess.Popen(command, stdout=-1, stderr=-1, text=True, env=environment)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven images and a file that is no image."""
    folder = tmp_path_factory.mktemp("images")
    for number in range(7):
        save(folder / f"{number}.tif", colored((300 + 40 * number, 500), (40, 60, 40 * number), number))
    (folder / "5-broken.tif").write_bytes(b"no image at all")
    return folder


def without_time(document: list[dict[str, Any]]) -> list[dict[str, Any]]:
    own = ("seconds", "peak_bytes", "memory")
    return [{key: value for key, value in entry.items() if key not in own} for entry in document]


class TestResultJournal:
    def journal(self, folder: Path, keys: list[str | None], outputs: list[Path | None] | None = None) -> ResultJournal:
        return ResultJournal(folder / "done", keys, outputs or [None] * len(keys))

    def test_results_are_recalled_by_their_keys(self, tmp_path: Path) -> None:
        self.journal(tmp_path, ["a", "b"]).keep(0, 1, {"score": 0.1})
        self.journal(tmp_path, ["c"]).keep(1, 0, [1, 2])
        again = self.journal(tmp_path, ["c", "b", "other", None])
        assert [again.recall(number) for number in range(4)] == [[1, 2], {"score": 0.1}, None, None]
        again.remove()
        assert not (tmp_path / "done").exists()

    def test_a_process_that_was_killed_while_it_wrote(self, tmp_path: Path) -> None:
        self.journal(tmp_path, ["a"]).keep(0, 0, 1)
        with (tmp_path / "done" / "0.jsonl").open("a") as file:
            file.write('\n{"b": 2')
        second = self.journal(tmp_path, ["a", "b", "c"])
        assert [second.recall(number) for number in range(3)] == [1, None, None]
        second.keep(0, 2, 3)
        assert self.journal(tmp_path, ["c"]).recall(0) == 3

    def test_without_its_file_an_image_is_not_done(self, tmp_path: Path) -> None:
        self.journal(tmp_path, ["a"]).keep(0, 0, 1)
        journal = self.journal(tmp_path, ["a"], [tmp_path / "a.png"])
        assert journal.recall(0) is None
        (tmp_path / "a.png").touch()
        assert journal.recall(0) == 1


def test_an_image_that_failed_is_tried_again(tmp_path: Path) -> None:
    queue = ImageQueue(World(data=Axis()))
    runs: list[list[Any]] = [["zero", None, "two"], ["not called", "one", "not called"]]
    for computed, expected in zip(runs, (["zero", None, "two"], ["zero", "one", "two"]), strict=True):
        journal = ResultJournal(tmp_path / "done", ["a", "b", "c"], [None] * 3)
        assert list(queue.results(3, computed.__getitem__, journal)) == expected
    assert len(queue.complete) == 1
    queue.close()
    assert not (tmp_path / "done").exists()


@pytest.mark.distributed
def test_two_processes_classify_as_one(fit: Fit, trained: Path, images: Path, tmp_path: Path) -> None:
    log, csv, maps = tmp_path / "log", tmp_path / "predictions.csv", tmp_path / "maps"
    log.touch()
    options = ["--checkpoint", trained, "--json", "--heatmap", maps, "--device", "cpu"]
    alone = fit("classify", images / "*.tif", *options, "--csv", tmp_path / "alone.csv")
    shutil.rmtree(maps)
    options += ["--csv", csv]
    code = RECORDED.format(log=str(log), dies=None)
    both = torchrun(2, code, "classify", images / "*.tif", *options)
    assert both.returncode == 1, "one image is broken"
    assert without_time(json.loads(both.stdout)) == without_time(json.loads(alone.stdout))
    assert csv.read_text() == (tmp_path / "alone.csv").read_text()
    assert both.stderr.count("5-broken.tif") == 1
    assert {path.name for path in maps.iterdir()} == {f"{number}.png" for number in range(7)}
    done = [line.split(":") for line in log.read_text().splitlines()]
    assert sorted(number for _, number in done) == list("01234567")
    assert {rank for rank, _ in done} == {"0", "1"}


@pytest.mark.distributed
@pytest.mark.parametrize("restarts", [0, 1])
def test_a_process_is_killed(
    fit: Fit, trained: Path, images: Path, tmp_path: Path, dataset: Path, restarts: int
) -> None:
    """The job is restarted by torchrun, or by hand with three processes instead of two."""
    log, out = tmp_path / "log", tmp_path / "features"
    log.touch()
    paths = [images / f"{number}.tif" for number in range(7)]
    arguments = ["embed", *paths, "--checkpoint", trained, "--out", out, "--json", "--device", "cpu"]
    if restarts:
        code = RECORDED.format(log=str(log), dies=1).replace(
            "os.kill", "os.environ['TORCHELASTIC_RESTART_COUNT'] > '0' or os.kill"
        )
        last = torchrun(2, code, *arguments, restarts=1)
    else:
        killed = torchrun(2, RECORDED.format(log=str(log), dies=1), *arguments)
        assert killed.returncode != 0
        assert not killed.stdout
        last = torchrun(3, RECORDED.format(log=str(log), dies=None), *arguments)
    assert last.returncode == 0, last.stderr
    done = [line.split(":")[1] for line in log.read_text().splitlines()]
    assert sorted(done) == list("0123456"), "every image is processed exactly once"
    assert [entry["path"] for entry in json.loads(last.stdout)] == [str(path) for path in paths]
    alone = tmp_path / "alone"
    assert fit("embed", *paths, "--checkpoint", trained, "--out", alone).exit_code == 0
    files = {path.relative_to(alone): path.read_bytes() for path in alone.rglob("*") if path.is_file()}
    assert files == {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert not (tmp_path / ".features.done").exists()


@pytest.mark.distributed
@NEEDS_PROC
@pytest.mark.parametrize(("command", "how"), [("classify", "stopped"), ("embed", "stopped"), ("classify", "waits")])
def test_a_process_hangs(fit: Fit, trained: Path, images: Path, tmp_path: Path, command: str, how: str) -> None:
    """It is named, what is finished is kept, and the same command does the rest."""
    log, out = tmp_path / "log", tmp_path / "out"
    log.touch()
    paths = [images / f"{number}.tif" for number in range(7)]
    outputs = {"classify": ["--csv", out], "embed": ["--out", out]}[command]
    arguments = [command, *paths, "--checkpoint", trained, "--json", "--device", "cpu", *outputs]
    # "waits": as for a disk that never answers.
    code = RECORDED.format(log=str(log), dies=1).replace("os.kill(os.getpid(), 9)", "import time; time.sleep(10**6)")
    job = start(2, code, *arguments, "--timeout", 0.05)
    if how == "stopped":
        while "1:" not in log.read_text():
            assert job.poll() is None
            time.sleep(0.01)
        stop_until_noticed(job, 1)
    _, err = job.communicate(timeout=250)
    assert job.returncode == 1
    (line,) = (line for line in err.splitlines() if line.startswith("error: "))
    assert line.startswith("error: rank 1 (process ")
    assert "has given no sign of life for 3 seconds (--timeout)" in line
    last = torchrun(3, RECORDED.format(log=str(log), dies=None), *arguments)
    assert last.returncode == 0, last.stderr
    done = [line.split(":")[1] for line in log.read_text().splitlines()]
    assert set(done) == set("0123456")
    assert len(done) <= 8, "at most the image in work is processed again"
    assert [entry["path"] for entry in json.loads(last.stdout)] == [str(path) for path in paths]


@pytest.mark.distributed
def test_two_processes_evaluate_as_one(fit: Fit, trained: Path, dataset: Path, tmp_path: Path) -> None:
    options = ["evaluate", dataset, "--checkpoint", trained, "--split", "all", "--json", "--device", "cpu"]
    alone = fit(*options)
    assert alone.exit_code == 0, alone.stderr
    both = torchrun(2, PLAIN, *options, "--csv", tmp_path / "lines.csv")
    assert both.returncode == 0, both.stderr
    assert json.loads(both.stdout) == json.loads(alone.stdout)
    assert list(tmp_path.iterdir()) == [tmp_path / "lines.csv"]


def numbers(document: Any) -> list[Any]:
    """The values of a document in order, without those that differ from run to run."""
    if isinstance(document, dict):
        return [
            each for key, value in document.items() if key not in ("seconds", "peak_bytes", "memory", "out", "heatmaps")
            for each in (key, *numbers(value))
        ]  # fmt: skip
    return [each for value in document for each in numbers(value)] if isinstance(document, list) else [document]


@pytest.mark.distributed
@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("classify", ["IMAGES/*.tif", "--json", "--heatmap", "OUT"]),
        ("embed", ["IMAGES/*.tif", "--json", "--patches", "--out", "OUT"]),
        ("evaluate", ["DATA", "--split", "all", "--json"]),
    ],
)
def test_two_processes_share_each_image(
    fit: Fit, trained: Path, images: Path, dataset: Path, tmp_path: Path, command: str, options: list[str]
) -> None:
    """The first process reports the broken image and goes on; its answers are those of one process but for rounding."""

    def arguments(out: Path) -> list[str]:
        places = {"IMAGES": images, "DATA": dataset, "OUT": out}
        given = [Path(str(text)).parts for text in options]
        named = [os.path.join(str(places.get(first, first)), *rest) for first, *rest in given]
        return [command, *named, "--checkpoint", str(trained), "--device", "cpu", "--precision", "fp32"]

    alone = fit(*arguments(tmp_path / "alone"))
    both = torchrun(2, PLAIN, *arguments(tmp_path / "both"), "--group-parallel", 2)
    assert both.returncode == alone.exit_code, both.stderr
    assert both.stderr.count("5-broken.tif") == (command != "evaluate")
    pairs = zip(numbers(json.loads(both.stdout)), numbers(json.loads(alone.stdout)), strict=True)
    assert all(one == (pytest.approx(other, abs=1e-4) if isinstance(other, float) else other) for one, other in pairs)
    for file in sorted((tmp_path / "alone").rglob("*.png")):
        with Image.open(file) as one, Image.open(tmp_path / "both" / file.relative_to(tmp_path / "alone")) as other:
            assert np.abs(np.asarray(one, float) - np.asarray(other, float)).max() <= 3
    for store in sorted((tmp_path / "alone").glob("*.zarr")):
        for name in ("latents", "patches", "coordinates"):
            values = [
                zarr.open(str(folder / store.name))[name][:] for folder in (tmp_path / "alone", tmp_path / "both")
            ]
            assert np.abs(values[0] - values[1]).max() < 1e-3


@pytest.mark.distributed
def test_processes_that_cannot_share_an_image_say_so(trained: Path, images: Path) -> None:
    command = ["classify", images / "0.tif", "--checkpoint", trained, "--device", "cpu", "--group-parallel", 2]
    several = torchrun(4, PLAIN, *command)
    assert several.returncode == 1
    assert several.stderr.count("error: --group-parallel 2: a command over images shares each of them between all") == 1


@pytest.mark.distributed
def test_an_error_of_one_process_is_printed_once(trained: Path, images: Path, tmp_path: Path) -> None:
    missing = torchrun(
        2, "from fitcli.__main__ import main; main()", "classify", images / "0.tif", "--checkpoint", tmp_path
    )
    assert missing.returncode == 1
    assert missing.stderr.count("error: ") == 1
    full = "import fitcli.tasks.encoding.embed_files as e, fitcli.errors as f, os\n" + (
        "if os.environ['RANK'] == '1':\n"
        "    def full(*arguments, **settings): raise f.FitError('the disk is full')\n"
        "    e.embed_image = full\n"
        "from fitcli.__main__ import main\nmain()"
    )
    paths = [images / f"{number}.tif" for number in range(7)]
    failed = torchrun(2, full, "embed", *paths, "--checkpoint", trained, "--out", tmp_path / "out", "--device", "cpu")
    assert failed.returncode == 1
    assert failed.stderr.count("error: the disk is full") == 1


def test_a_message_is_printed_by_the_first_process_that_asks() -> None:
    alone = ImageQueue()
    assert [alone.tally(name) for name in ("a", "a", "b")] == [1, 2, 1]
    assert [alone.tally("a", 0), alone.tally("c", 0)] == [2, 0]
    store = HashStore()
    queues = [ImageQueue(store=store) for _ in range(3)]
    assert [queue.tally("a") for queue in (*queues, *queues)] == [1, 2, 3, 4, 5, 6]
    assert [queue.tally("a", 0) for queue in queues] == [6, 6, 6]


def test_all_processes_know_the_largest_value() -> None:
    alone = ImageQueue()
    assert [alone.largest("a", value) for value in (3, 9, 5)] == [3, 9, 9]
    assert [alone.largest("a"), alone.largest("b")] == [9, 0]
    store = HashStore()
    queues = [ImageQueue(store=store) for _ in range(3)]
    assert [queue.largest("a", value) for queue, value in zip(queues, (3 << 30, 9 << 30, 5), strict=True)] == [
        3 << 30, 9 << 30, 9 << 30
    ]  # fmt: skip
    assert [queue.largest("a") for queue in queues] == [9 << 30] * 3
