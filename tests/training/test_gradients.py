"""The gradients of several batches are those of one large batch, also if memory runs out on the way."""

from __future__ import annotations

import shutil
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support import small_runs
from support.pictures import colored, save
from support.small_runs import labelled, two_classes

from fitcli.data import loader
from fitcli.data.batch import Batch
from fitcli.errors import FitError, OutOfMemory
from fitcli.execution.plan import ExecutionPlan
from fitcli.tasks.context import TrainingRun
from fitcli.tasks.registry import find_task
from fitcli.training import gradients
from fitcli.training.execution_choice import load_plan
from fitcli.training.loop import train
from fitcli.training.reports import (
    BadImageReport,
    MemoryReport,
    Report,
    StepReport,
)
from models.build import build


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_classes(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of 4 x 4 groups, for which executions differ in their memory."""
    return two_classes(tmp_path_factory.mktemp("large"), (512, 400), 4)


def run_of(data: Path, folder: Path, **settings: Any) -> TrainingRun:
    """A run of two steps in which memory is plenty."""
    return small_runs.run_of(data, folder, memory=1 << 40, **{"steps": 2, "augment": False, **settings})


def losses(reports: list[Report]) -> list[float]:
    return [report.loss for report in reports if isinstance(report, StepReport)]


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of several sizes; seven are of one class, three of the other."""
    folder = tmp_path_factory.mktemp("uneven")
    for number, (height, width) in enumerate([(24, 24), (40, 24), (24, 44), (32, 32), (56, 24)] * 2):
        label, color = ("light", (90, 70, 100)) if number % 4 == 3 or number == 9 else ("dark", (60, 80, 70))
        save(folder / label / f"{number}.png", colored((height, width), color, number))
    return folder


LOSSES: dict[str, dict[str, Any]] = {
    "classify": {},
    "balanced": {"balance": True, "label_smoothing": 0.1},
    "diffusion": {"task": "diffusion", "patch": 4, "preset": "nano"},
    "autoregressive": {"task": "autoregressive", "patch": 4, "levels": 4},
    "segment": {"task": "segment", "patch": 4, "class_weights": "inverse"},
}


@pytest.mark.walk(1)
@pytest.mark.parametrize("name", LOSSES)
def test_accumulated_passes_are_one_large_batch(uneven: Path, tmp_path: Path, name: str) -> None:
    """A loss is a mean over all images or patches of a step, not over passes that hold different numbers of them."""

    def reports(batch_size: int, accumulate: int) -> list[StepReport]:
        seen: list[Report] = []
        settings = {"batch_size": batch_size, "accumulate": accumulate, "steps": 3, **LOSSES[name]}
        train(run_of(uneven, tmp_path / f"{batch_size}x{accumulate}", **settings), seen.append)
        return [report for report in seen if isinstance(report, StepReport)]

    whole = reports(4, 1)
    for parts in (reports(2, 2), reports(1, 4)):
        for one, other in zip(whole, parts, strict=True):
            assert one.loss == pytest.approx(other.loss, rel=1e-4)
            assert one.gradient_norm == pytest.approx(other.gradient_norm, rel=1e-3)
            assert one.epoch == other.epoch
            assert one.scores.get("accuracy") == other.scores.get("accuracy")


@pytest.fixture(scope="module")
def with_unlabelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images with labels; the loss of the others is a sum of nothing."""
    return labelled(tmp_path_factory.mktemp("labelled"), (24, 36), 8, unlabelled=4)


def batches_of_one(data: Path, folder: Path) -> tuple[TrainingRun, list[Batch], list[Batch]]:
    """Return a run in batches of one image, and its batches with labels and without, of the first epoch."""
    run = run_of(data, folder, task="segment", patch=4, batch_size=1, steps=100)
    reading = find_task("segment").objective(run).reading
    every = list(loader.Loader(run.dataset.train, reading, 1).batches(0, len(run.dataset.train)))
    known = {sample.path: sample.target is not None for sample in run.dataset.train}
    with_labels = [batch for batch in every if known[batch.paths[0]]]
    return run, with_labels, [batch for batch in every if not known[batch.paths[0]]]


def step_of(run: TrainingRun, passes: list[Batch], plan: ExecutionPlan) -> tuple[float, float, list[torch.Tensor]]:
    """Return loss, norm and gradients of a step over some batches."""
    run = replace(run, plan=plan, settings=replace(run.settings, accumulate=len(passes), clip=0.0))
    model: Any = build(run.config.model, seed=1)
    computed = gradients.Gradients(run, model, lambda choice: None)
    computed._batches = (batch for batch in passes)
    results = computed.accumulate(0)
    results.receive(run.world)
    return results.loss, results.norm, [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()]


@pytest.mark.walk(2)
@pytest.mark.parametrize("plan", [ExecutionPlan(), ExecutionPlan(kind="stream", handful=2)], ids=["plain", "streamed"])
@pytest.mark.parametrize("places", [(0,), (2,), (1,), (0, 1), (0, 1, 2, 3)], ids=str)
def test_batches_without_labels_change_nothing(
    with_unlabelled: Path, tmp_path: Path, places: tuple[int, ...], plan: ExecutionPlan
) -> None:
    """First, last and among the passes of a step."""
    run, known, unknown = batches_of_one(with_unlabelled, tmp_path / "run")
    expected_loss, expected_norm, expected = step_of(run, known[:2], plan)
    assert expected_norm > 0
    passes = known[:2]
    for place in places:
        passes.insert(place, unknown[0])
    loss, norm, found = step_of(run, passes, plan)
    assert loss == pytest.approx(expected_loss, rel=1e-6)
    assert norm == pytest.approx(expected_norm, rel=1e-5)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("count", [1, 2])
def test_a_step_without_labels_is_zero(with_unlabelled: Path, tmp_path: Path, count: int) -> None:
    run, _, unknown = batches_of_one(with_unlabelled, tmp_path / "run")
    loss, norm, found = step_of(run, unknown[:count], ExecutionPlan())
    assert (loss, norm) == (0, 0)
    assert not any(gradient.any() for gradient in found)


def fail_calls(monkeypatch: pytest.MonkeyPatch, error: Exception, calls: set[int]) -> None:
    """Make some calls of `run_job` fail after they have added gradients. Calls are counted from 1."""
    real, count = gradients.run_job, 0

    def run_job(*arguments: Any) -> Any:
        nonlocal count
        count += 1
        outcome = real(*arguments)
        if count in calls:
            raise error
        return outcome

    monkeypatch.setattr(gradients, "run_job", run_job)


ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
    torch.AcceleratorError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    OutOfMemory("cannot allocate 1 GiB of host memory for tokens at rest"),
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:124] . DefaultCPUAllocator: can't allocate memory: you tried to ..."),
]


@pytest.mark.walk(1)
@pytest.mark.parametrize("error", ERRORS, ids=["cuda", "launch", "cublas", "store", "python", "cpu"])
def test_running_out_of_memory_loses_nothing(
    error: Exception, large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory runs out in the second pass of the second step. Both passes are repeated, on the same images."""
    undisturbed: list[Report] = []
    train(run_of(large, tmp_path / "undisturbed", accumulate=2, batch_size=1), undisturbed.append)
    fail_calls(monkeypatch, error, {4})
    disturbed: list[Report] = []
    run = run_of(large, tmp_path / "disturbed", accumulate=2, batch_size=1)
    train(run, disturbed.append)
    assert losses(disturbed) == pytest.approx(losses(undisturbed), rel=1e-5)
    assert len([report for report in disturbed if isinstance(report, MemoryReport)]) == 1
    assert load_plan(run.folder).kind != "plain"


def watch_batches(monkeypatch: pytest.MonkeyPatch) -> list[Batch]:
    """Return a list to which every batch that is joined is added."""
    real, joined = loader.collate, list[Batch]()

    def collate(*arguments: Any) -> Batch:
        joined.append(real(*arguments))
        return joined[-1]

    monkeypatch.setattr(loader, "collate", collate)
    return joined


@pytest.mark.more
def test_a_step_that_starts_over_reads_the_same_batches(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory runs out in the last pass of the second step. An unusable image is replaced alike and counted once."""
    data = tmp_path / "data"
    shutil.copytree(large, data)
    settings = {"accumulate": 4, "batch_size": 1, "max_bad_images": 1, "augment": True, "token_dropout": 0.5}
    runs = [run_of(data, tmp_path / name, **settings) for name in ("undisturbed", "disturbed")]
    runs[0].dataset.train[1].path.write_bytes(b"")
    joined = watch_batches(monkeypatch)
    undisturbed: list[Report] = []
    train(runs[0], undisturbed.append)
    expected = joined[:]
    joined.clear()
    fail_calls(monkeypatch, MemoryError(), {8})
    disturbed: list[Report] = []
    train(runs[1], disturbed.append)
    assert (len(expected), len(joined)) == (8, 12)
    for one, other in zip(joined, [*expected, *expected[4:]], strict=True):
        assert (one.showings, one.paths) == (other.showings, other.paths)
        assert torch.equal(one.patches, other.patches)
        assert torch.equal(one.groups.coordinates, other.groups.coordinates)
    assert len([report for report in disturbed if isinstance(report, BadImageReport)]) == 1
    assert losses(disturbed) == pytest.approx(losses(undisturbed), rel=1e-5)


@pytest.mark.walk(1)
@pytest.mark.parametrize("accumulate", [2, 12])
@pytest.mark.parametrize("fails", [False, True])
def test_memory_does_not_grow_with_the_number_of_passes(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accumulate: int, fails: bool
) -> None:
    """Counts the batches that are alive whenever another one is joined."""
    real, alive, most = loader.collate, set[int](), 0

    def collate(*arguments: Any) -> Batch:
        nonlocal most
        batch = real(*arguments)
        key = len(seen)
        seen.append(key)
        alive.add(key)
        weakref.finalize(batch.patches, alive.discard, key)
        most = max(most, len(alive))
        return batch

    seen: list[int] = []
    monkeypatch.setattr(loader, "collate", collate)
    fail_calls(monkeypatch, MemoryError(), {accumulate} if fails else set())
    train(run_of(large, tmp_path / "run", accumulate=accumulate, batch_size=1, steps=1), lambda report: None)
    assert len(seen) == accumulate * (2 if fails else 1)
    # The traceback of the error that this test raises keeps the batch of its pass.
    assert most <= 2 + fails


@pytest.mark.walk(1)
@pytest.mark.parametrize("calls", [{1, 2}, {1, 3}], ids=["in one step", "in two"])
def test_running_out_of_memory_twice_ends_the_run(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: set[int]
) -> None:
    fail_calls(monkeypatch, torch.OutOfMemoryError("CUDA out of memory."), calls)
    run = run_of(large, tmp_path / "run")
    with pytest.raises(FitError, match=r"out of memory on cpu .* use a smaller --batch-size"):
        train(run, lambda report: None)


def test_other_errors_do_not_change_the_execution(large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_calls(monkeypatch, RuntimeError("a mistake of ours"), {1})
    with pytest.raises(RuntimeError, match="a mistake of ours"):
        train(run_of(large, tmp_path / "run"), lambda report: None)
