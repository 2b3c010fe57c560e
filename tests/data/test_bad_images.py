"""Unusable images are counted once over all processes and reported once; a run leaves out as many as it allows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support import small_runs
from support.small_runs import two_classes

from fitcli.data.bad_images import BadImage, BadImages, TooManyBadImages, first_good
from fitcli.errors import DataError, ImageError
from fitcli.tasks.context import TrainingRun
from fitcli.tasks.registry import TASKS
from fitcli.training.loop import Observer, train
from fitcli.training.reports import BadImageReport, Report, StepReport


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return two_classes(tmp_path / "data")


def run_of(data: Path, folder: Path, resume: bool = False, **settings: Any) -> TrainingRun:
    return small_runs.run_of(data, folder, resume, **{"epochs": 4, **settings})


def spoil(path: Path) -> None:
    """Cut off the end of a file."""
    path.write_bytes(path.read_bytes()[:-60])


class Watcher:
    """Keeps the reports, and calls a function at a step."""

    def __init__(self, step: int = 0, act: Observer = lambda _: None) -> None:
        self.reports: list[Report] = []
        self._step, self._act = step, act

    def __call__(self, report: Report) -> None:
        self.reports.append(report)
        if isinstance(report, StepReport) and report.step == self._step:
            self._act(report)

    def bad(self) -> list[str]:
        return [report.path.name for report in self.reports if isinstance(report, BadImageReport)]


def bad(name: str, reason: str = "damaged") -> BadImage:
    return BadImage(Path(name), DataError(f"{name}: {reason}"))


def test_an_image_counts_once_and_one_too_many_raises() -> None:
    images = BadImages(allowed=2)
    images.add([bad("a"), bad("b"), bad("a")])
    with pytest.raises(TooManyBadImages, match=r"^c: damaged \(after 2 others\); or .*, with --max-bad-images 3$"):
        images.add([bad("b"), bad("c")])
    with pytest.raises(TooManyBadImages, match=r"^a: damaged; or train without such images, with --max-bad-images 1$"):
        BadImages().add([bad("a")])


def test_processes_exchange_their_images_once_and_report_all() -> None:
    one, other = BadImages(allowed=9), BadImages(allowed=9)
    one.add([bad("a"), bad("b")])
    other.add([bad("b"), bad("c")])
    sent = one.take_unsent(), other.take_unsent()
    assert sent == ([("a", "a: damaged"), ("b", "b: damaged")], [("b", "b: damaged"), ("c", "c: damaged")])
    for images in (one, other):
        for each in sent:
            images.receive(each)
        assert images.take_unsent() == [], "received images are not sent on"
    assert [image.path.name for image in one.take_pending()] == ["a", "b", "c"]
    assert [image.path.name for image in other.take_pending()] == ["b", "c", "a"]
    assert one.take_pending() == other.take_pending() == []
    with pytest.raises(TooManyBadImages, match=r"^d: elsewhere"):
        BadImages().receive([("d", "d: elsewhere")])


def test_restored_images_count_but_are_neither_reported_nor_sent() -> None:
    images = BadImages(allowed=1)
    images.restore([bad("a"), bad("b")])
    assert images.take_pending() == images.take_unsent() == []
    with pytest.raises(TooManyBadImages, match=r"^c: "):
        images.add([bad("c")])


@pytest.mark.parametrize(
    ("allowed", "result", "failed"), [(0, None, ["a"]), (1, None, ["a", "b"]), (2, "c", ["a", "b"])]
)
def test_the_first_good_file(allowed: int, result: str | None, failed: list[str]) -> None:
    def read(path: Path) -> str:
        if path.name in "ab":
            raise ImageError(path, "damaged") if path.name == "a" else DataError("of another kind")
        return path.name

    attempt = first_good(read, [Path("a"), Path("b"), Path("c"), Path("d")], allowed)
    assert attempt.result == result
    assert [image.path.name for image in attempt.failed] == failed


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "last/model.safetensors")


def assert_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_an_image_that_breaks_stops_the_run_which_can_be_resumed(data: Path, tmp_path: Path) -> None:
    train(run_of(data, tmp_path / "whole"), Watcher())
    run, folder = run_of(data, tmp_path / "run"), tmp_path / "run"
    victim = run.dataset.train[3].path
    good = victim.read_bytes()
    # Some batches were read ahead, so the run stops a few steps later.
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
    assert steps == list(range(done + 1, 17)), "it continues after the last step"
    assert_equal(weights(folder), weights(tmp_path / "whole"))


def test_a_bad_image_is_left_out_and_reported_once(data: Path, tmp_path: Path) -> None:
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


@pytest.mark.more
def test_with_a_bad_image_a_resumed_run_is_the_same_run(data: Path, tmp_path: Path) -> None:
    spoil(run_of(data, tmp_path / "none").dataset.train[3].path)
    train(run_of(data, tmp_path / "whole", max_bad_images=1), Watcher())

    def stop(report: Report) -> None:
        raise SystemError("the machine is gone")

    with pytest.raises(SystemError):
        train(run_of(data, tmp_path / "run", max_bad_images=1), Watcher(6, stop))
    train(run_of(data, tmp_path / "run", resume=True), Watcher(), resume=True)
    assert_equal(weights(tmp_path / "run"), weights(tmp_path / "whole"))


def test_a_resumed_run_may_allow_more(data: Path, tmp_path: Path) -> None:
    run = run_of(data, tmp_path / "run")
    with pytest.raises(TooManyBadImages):
        train(run, Watcher(2, lambda _: spoil(run.dataset.train[0].path)))
    again = run_of(data, tmp_path / "run", resume=True, max_bad_images=1)
    assert train(again, Watcher(), resume=True).step == 16
    assert run_of(data, tmp_path / "run", resume=True).settings.max_bad_images == 1, "the record has it"


@pytest.mark.walk(1)
@pytest.mark.parametrize("task", TASKS)
def test_a_bad_validation_image(data: Path, tmp_path: Path, task: str) -> None:
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
    with pytest.raises(DataError, match=r"validation image .*can be used"):
        train(run_of(data, tmp_path / "none", max_bad_images=2, **settings), Watcher())


def test_a_resumed_run_whose_images_are_all_bad(data: Path, tmp_path: Path) -> None:
    train(run_of(data, tmp_path / "run", epochs=1), Watcher())
    for path in data.rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(TooManyBadImages, match=r"--max-bad-images 1$"):
        train(run_of(data, tmp_path / "run", resume=True, epochs=2), Watcher(), resume=True)
