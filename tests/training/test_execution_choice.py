"""Training within a memory budget: an execution is chosen that gives the same training; a resumed run keeps it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support import small_runs
from support.fake_cuda import cuda_machine
from support.small_runs import two_classes

from fitcli.device.allocator import CONTEXT_BYTES
from fitcli.device.runtime import Runtime
from fitcli.errors import CheckpointError, FitError
from fitcli.execution.plan import ExecutionPlan
from fitcli.memory.estimate import estimate_step, parameter_count
from fitcli.tasks.context import TrainingRun
from fitcli.tasks.registry import TASKS
from fitcli.training import execution_choice
from fitcli.training.execution_choice import PLAN, has_room_ahead, largest_step, load_plan, with_plan
from fitcli.training.loop import train
from fitcli.training.reports import Report, StepReport

MIB = 1 << 20


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of 4 x 4 groups of 128 pixels."""
    return two_classes(tmp_path_factory.mktemp("data"), (512, 400), 4)


def run_of(data: Path, folder: Path, memory: int | None = None, resume: bool = False, **settings: Any) -> TrainingRun:
    return small_runs.run_of(data, folder, resume, memory, **{"steps": 2, "augment": False, **settings})


def tight(run: TrainingRun) -> int:
    """Return less memory than the plain step takes."""
    assert run.work is not None
    return estimate_step(run.work, ExecutionPlan()).needed_bytes - MIB


def steps_of(reports: list[Report]) -> list[float]:
    return [report.loss for report in reports if isinstance(report, StepReport)]


def test_the_largest_step_has_the_groups_of_the_largest_image(data: Path, tmp_path: Path) -> None:
    run = run_of(data, tmp_path / "run")
    sizes = [(512, 400), (100, 1300), (129, 127)]
    assert largest_step(run, sizes).groups == 16
    assert largest_step(replace(run, settings=replace(run.settings, size=256)), sizes).groups == 4
    assert largest_step(run, sizes).images == 2


@pytest.mark.parametrize(("workers", "batches"), [(1, 3), (2, 3), (5, 5)])
def test_a_plan_counts_what_the_loader_reads_ahead(workers: int, batches: int, data: Path, tmp_path: Path) -> None:
    """Two images, as many again, and one per reader; the memory of a CPU holds the pixels of them all."""
    run = replace(run_of(data, tmp_path / "run"), workers=workers)
    work = largest_step(run, [(512, 400)])
    assert work.batches == batches
    assert run.images_ahead(work) == 2 + workers <= (batches - 1) * work.images
    limited = replace(run, memory_bytes=work.pixel_bytes)
    assert largest_step(limited, [(512, 400)]).batches == 2, "the next batch in any case"


def test_pixels_are_copied_ahead_to_a_device_with_room_for_them(data: Path, tmp_path: Path) -> None:
    run = run_of(data, tmp_path / "run")
    assert not has_room_ahead(run), "a CPU needs no copy"
    assert run.work is not None
    work = replace(run.work, device="cuda", precision="bf16")
    run = replace(run, runtime=Runtime(torch.device("cuda"), "bf16"), work=work)
    assert run.work is not None
    needed, pixels = estimate_step(run.work, run.plan).needed_bytes, 2 * 4 * 4 * 128**2 * 3
    assert has_room_ahead(replace(run, memory_bytes=needed + pixels))
    assert not has_room_ahead(replace(run, memory_bytes=needed + pixels - 1))
    streamed = replace(run, plan=ExecutionPlan(kind="stream"), memory_bytes=1 << 40)
    assert not has_room_ahead(streamed), "a streamed step copies a handful at a time"


def test_weights_that_are_there_leave_room_for_pixels(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without `--memory`, before the first step: weights and context are on the device, and the step counts them."""
    run = run_of(data, tmp_path / "run")
    assert run.work is not None
    work = replace(run.work, device="cuda", precision="bf16")
    run = replace(run, runtime=Runtime(torch.device("cuda", 0), "bf16"), work=work, memory_bytes=None)
    missing = estimate_step(work, run.plan).needed_bytes + work.pixel_bytes - CONTEXT_BYTES
    missing -= 4 * parameter_count(work.config)
    with cuda_machine(monkeypatch) as machine:
        machine.reserved = machine.allocated
        machine.free = int(missing / 0.9) + 2
        assert has_room_ahead(run)
        machine.free -= 4
        assert not has_room_ahead(run)


@pytest.mark.walk(1)
@pytest.mark.parametrize("task", TASKS)
def test_less_memory_gives_the_same_training(task: str, data: Path, tmp_path: Path) -> None:
    size = {"detect": 64, "diffusion": 64, "autoregressive": 32}
    settings: dict[str, Any] = {"task": task, "size": size.get(task)}
    plenty = run_of(data, tmp_path / "plenty", 1 << 40, **settings)
    little = run_of(data, tmp_path / "little", tight(plenty), **settings)
    assert plenty.plan.kind == "plain"
    assert little.plan.kind != "plain"
    losses: list[list[Report]] = [[], []]
    train(plenty, losses[0].append)
    train(little, losses[1].append)
    assert steps_of(losses[0]) == pytest.approx(steps_of(losses[1]), rel=1e-5)
    weights = [load_file(run.folder / "last" / "model.safetensors") for run in (plenty, little)]
    for name, expected in weights[0].items():
        # AdamW turns the rounding of gradients near zero into whole steps of the learning rate.
        torch.testing.assert_close(weights[1][name], expected, rtol=0, atol=3e-3, msg=name)


def test_a_resumed_run_is_executed_as_before(data: Path, tmp_path: Path) -> None:
    run = run_of(data, tmp_path / "run", tight(run_of(data, tmp_path / "run")))
    train(run, lambda report: None)
    resumed = run_of(data, run.folder, resume=True)
    assert resumed.plan == run.plan
    assert resumed.work == run.work
    assert run_of(data, run.folder, 1 << 40, resume=True).plan.kind == "plain"


def test_a_resumed_run_whose_steps_cannot_fit_is_refused(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings that were edited ask for it, or the machine is smaller."""
    run = small_runs.run_of(data, tmp_path / "run", epochs=1)
    train(run, small_runs.quietly)
    settings = run.folder / "training" / "settings.json"
    small_runs.run_of(data, run.folder, resume=True)
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"batch_size": 65536}))
    monkeypatch.setattr(execution_choice, "free_bytes", lambda runtime: 200 << 20)
    with pytest.raises(CheckpointError, match=r"settings.json as it is, a step takes .* GiB, but 200 MiB are free"):
        small_runs.run_of(data, run.folder, resume=True)


def test_a_damaged_plan(data: Path, tmp_path: Path) -> None:
    run = run_of(data, tmp_path / "run")
    train(run, lambda report: None)
    (run.folder / PLAN).write_text('{"kind": "magic"}')
    with pytest.raises(CheckpointError, match=r"plan.json: cannot be read \(kind must be one of plain"):
        load_plan(run.folder)


def test_too_little_memory_is_refused_before_anything_is_written(data: Path, tmp_path: Path) -> None:
    with pytest.raises(
        FitError, match=r"20 MiB are too little: a training step of this model of \d+,\d+ parameters takes"
    ):
        run_of(data, tmp_path / "run", 20 * MIB)
    assert not (tmp_path / "run").exists()


@pytest.mark.walk
@pytest.mark.parametrize(("batch", "workers"), [(1, 1), (1, 8), (2, 4), (4, 16)])
@pytest.mark.parametrize("allowed", [20, 100, 150])
def test_the_first_memory_that_an_error_names_is_enough(
    batch: int, workers: int, allowed: int, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With more memory more images are read ahead, which take memory themselves. Nor does it need a table at hand."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    run = replace(run_of(data, tmp_path / "run", batch_size=batch), workers=workers)
    sizes = [(1536, 1536)]
    with pytest.raises(FitError, match=r"^--memory: \d+ MiB are too little.* takes at least (\d+) MiB") as caught:
        with_plan(run, sizes, allowed * MIB)
    enough = int(str(caught.value).split("at least ")[1].split()[0]) * MIB
    planned = with_plan(run, sizes, enough)
    assert planned.work is not None
    assert estimate_step(planned.work, planned.plan).needed_bytes <= enough


def test_what_an_error_names_allows_for_libraries_that_take_a_little_more(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(data, tmp_path / "run")
    monkeypatch.setattr(execution_choice, "bytes_beyond_torch", lambda: 96 * MIB)
    with pytest.raises(FitError, match="takes at least") as caught:
        with_plan(run, [(512, 400)], 20 * MIB)
    enough = int(str(caught.value).split("at least ")[1].split()[0]) * MIB
    monkeypatch.setattr(execution_choice, "bytes_beyond_torch", lambda: 97 * MIB)
    with_plan(run, [(512, 400)], enough)


def test_the_plan_is_readable(data: Path, tmp_path: Path) -> None:
    run = run_of(data, tmp_path / "run")
    train(run, lambda report: None)
    assert json.loads((run.folder / PLAN).read_text())["kind"] == "plain"
