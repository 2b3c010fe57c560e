"""Images that break in the middle of training, and two processes that want one run folder."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support import small_runs
from support.pictures import save
from support.small_runs import two_classes

from fitcli.data.bad_images import TooManyBadImages
from fitcli.errors import DataError, FitError
from fitcli.tasks.context import TrainingRun
from fitcli.training import gradients
from fitcli.training.checkpointing.run_lock import locked
from fitcli.training.loop import Observer, train
from fitcli.training.reports import BadImageReport, Report, StepReport

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return two_classes(tmp_path / "data")


def run_of(data: Path, folder: Path, resume: bool = False, **settings: Any) -> TrainingRun:
    return small_runs.run_of(data, folder, resume, **{"epochs": 4, **settings})


def spoil(path: Path) -> None:
    """Cut off the end of a file."""
    path.write_bytes(path.read_bytes()[:-60])


class Watcher:
    """Keeps the reports, and does something at a step."""

    def __init__(self, step: int = 0, act: Observer = lambda _: None) -> None:
        self.reports: list[Report] = []
        self._step, self._act = step, act

    def __call__(self, report: Report) -> None:
        self.reports.append(report)
        if isinstance(report, StepReport) and report.step == self._step:
            self._act(report)

    def bad(self) -> list[str]:
        return [report.path.name for report in self.reports if isinstance(report, BadImageReport)]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "last/model.safetensors")


def assert_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_an_image_that_breaks_stops_the_run_which_loses_nothing(data: Path, tmp_path: Path) -> None:
    train(run_of(data, tmp_path / "whole"), Watcher())
    run, folder = run_of(data, tmp_path / "run"), tmp_path / "run"
    victim = run.dataset.train[3].path
    good = victim.read_bytes()
    # Some batches are read ahead: it takes a few steps until the damage is met.
    watcher = Watcher(5, lambda _: spoil(victim))
    with pytest.raises(TooManyBadImages, match=rf"{victim.name}: .*; or .*, with --max-bad-images 1$"):
        train(run, watcher)
    done = max(report.step for report in watcher.reports if isinstance(report, StepReport))
    assert 5 <= done < 16
    assert watcher.bad() == [victim.name]
    victim.write_bytes(good)
    again = run_of(data, folder, resume=True)
    watcher = Watcher()
    train(again, watcher, resume=True)
    steps = [report.step for report in watcher.reports if isinstance(report, StepReport)]
    assert steps == list(range(done + 1, 17)), "it goes on after the last step that was good"
    assert_equal(weights(folder), weights(tmp_path / "whole"))


def test_a_bad_image_is_left_out_and_told_once(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_of(data, tmp_path / "run", max_bad_images=1)
    victim = run.dataset.train[3].path
    spoil(victim)
    watcher = Watcher()
    assert train(run, watcher).step == 16
    assert watcher.bad() == [victim.name]
    logged = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    (entry,) = [line for line in logged if line["kind"] == "bad image"]
    assert entry["path"] == str(victim)
    assert entry["step"] <= 4, "met in the first epoch"


def test_with_a_bad_image_a_resumed_run_is_the_same_run(data: Path, tmp_path: Path) -> None:
    spoil(run_of(data, tmp_path / "none").dataset.train[3].path)
    train(run_of(data, tmp_path / "whole", max_bad_images=1), Watcher())

    def stop(report: Report) -> None:
        raise SystemError("the machine is gone")

    with pytest.raises(SystemError):
        train(run_of(data, tmp_path / "run", max_bad_images=1), Watcher(6, stop))
    train(run_of(data, tmp_path / "run", resume=True), Watcher(), resume=True)
    assert_equal(weights(tmp_path / "run"), weights(tmp_path / "whole"))


def test_a_resumed_run_may_put_up_with_more(data: Path, tmp_path: Path) -> None:
    run = run_of(data, tmp_path / "run")
    with pytest.raises(TooManyBadImages):
        train(run, Watcher(2, lambda _: spoil(run.dataset.train[0].path)))
    again = run_of(data, tmp_path / "run", resume=True, max_bad_images=1)
    assert train(again, Watcher(), resume=True).step == 16
    assert run_of(data, tmp_path / "run", resume=True).settings.max_bad_images == 1, "remembered"


@pytest.mark.parametrize("task", ["classify", "diffusion", "autoregressive"])
def test_a_bad_image_among_those_to_validate(data: Path, tmp_path: Path, task: str) -> None:
    settings = {"task": task, "epochs": 1, "patch": 4}
    run = run_of(data, tmp_path / "run", **settings)
    victim = run.dataset.validation[0].path
    with pytest.raises(TooManyBadImages, match=victim.name):
        train(run, Watcher(1, lambda _: spoil(victim)))
    watcher = Watcher()
    progress = train(run_of(data, tmp_path / "run", resume=True, max_bad_images=1), watcher, resume=True)
    assert progress.best
    assert watcher.bad() == [victim.name]
    spoil(run.dataset.validation[1].path)
    with pytest.raises(DataError, match="validation image can be used"):
        train(run_of(data, tmp_path / "none", max_bad_images=2, **settings), Watcher())


@pytest.mark.parametrize("damage", ["header", "pixels", "channels"])
def test_images_that_are_bad_from_the_beginning(data: Path, tmp_path: Path, damage: str) -> None:
    clean = run_of(data, tmp_path / "run")
    victim = clean.dataset.train[5].path
    if damage == "header":
        victim.write_bytes(b"")
    elif damage == "pixels":
        spoil(victim)
    else:
        victim.unlink()
        save(tmp_path / "five.tif", np.zeros((24, 24, 5), np.uint8)).rename(victim)
    with pytest.raises(FitError, match=victim.name):
        run_of(data, tmp_path / "run")
    found = run_of(data, tmp_path / "run", max_bad_images=1)
    assert found.config.preprocessing != clean.config.preprocessing, "the bad image does not count"
    watcher = Watcher()
    train(found, watcher)
    assert watcher.bad() == [victim.name]


def test_a_data_set_of_bad_images_alone(data: Path, tmp_path: Path) -> None:
    for path in data.rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"\(and 9 more images that cannot be read\)"):
        run_of(data, tmp_path / "run", max_bad_images=1000)


def test_a_loss_that_is_no_number_names_the_images(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    real = gradients.run_job

    def explode(*arguments: object, **settings: object) -> object:
        outcome = real(*arguments, **settings)  # type: ignore[arg-type]
        return outcome._replace(loss=outcome.loss * float("nan")) if len(seen) == 3 else outcome

    monkeypatch.setattr(gradients, "run_job", explode)
    run = run_of(data, tmp_path / "run", batch_size=8)
    # One step is one epoch: every training image is in it, and four are named.
    with pytest.raises(
        FitError, match=r"the loss became nan in step 4, on .*\.png, .* and 4 more; start again"
    ) as said:
        train(run, lambda report: seen.append([]) if isinstance(report, StepReport) else None)
    named = [str(sample.path) for sample in run.dataset.train if str(sample.path) in str(said.value)]
    assert len(named) == 4


HOLD = """
import sys
from pathlib import Path
from fitcli.training.checkpointing.run_lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_processes_do_not_train_into_one_folder(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run = run_of(data, folder)
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdin=pipe, stdout=pipe, cwd=ROOT)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
        with pytest.raises(FitError, match=rf"run: process {process.pid} on .* is training there; .* another --out"):
            train(run, Watcher())
        assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    finally:
        process.kill()
        process.communicate()
    assert train(run, Watcher()).step == 16, "the lock of a process that died is none"


def test_a_folder_that_was_taken_while_the_data_were_looked_at(data: Path, tmp_path: Path) -> None:
    first, second = (run_of(data, tmp_path / "run", epochs=1) for _ in range(2))
    train(first, Watcher())
    before = weights(tmp_path / "run")
    with pytest.raises(FitError, match="now holds a run"):
        train(second, Watcher())
    assert_equal(weights(tmp_path / "run"), before)


def test_a_lock_is_let_go(tmp_path: Path) -> None:
    for _ in range(2):
        with locked(tmp_path / "run"):
            pass
    shutil.rmtree(tmp_path / "run")


def test_a_data_set_that_is_all_bad_by_the_time_the_run_goes_on(data: Path, tmp_path: Path) -> None:
    train(run_of(data, tmp_path / "run", epochs=1), Watcher())
    for path in data.rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(TooManyBadImages, match=r"--max-bad-images 1$"):
        train(run_of(data, tmp_path / "run", resume=True, epochs=2), Watcher(), resume=True)
