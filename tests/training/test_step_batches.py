"""All processes read a step alike: each gets its part in the mean, and the same number of calls of a sharded layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest
import torch
from support.small_runs import first_batch, run_of, two_classes

from fitcli.errors import FitError
from fitcli.execution.plan import ExecutionPlan
from fitcli.execution.run import run_job
from fitcli.tasks.context import TrainingRun
from fitcli.tasks.registry import TASKS
from fitcli.training.step_batches import PassInput, read_batch
from fitcli.training.step_results import StepResults
from models.build import build


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TrainingRun:
    folder = tmp_path_factory.mktemp("run")
    return run_of(two_classes(folder / "data", (40, 70)), folder / "run", size=None, patch=4)


def read(
    run: TrainingRun, ranks: int = 1, sharded: bool = False, counting: Any = None, **other: Any
) -> tuple[PassInput, StepResults]:
    """Read a batch beside a second process that reports the same but for `other`; `ranks` processes share an image.

    `counting` replaces the objective.
    """

    def gather_results(act: Callable[[], dict[str, Any]]) -> list[dict[str, Any]]:
        own = act()
        return [own, own | {"bad": []} | other]

    shared = SimpleNamespace(rank=0, size=ranks)
    world: Any = SimpleNamespace(gather_results=gather_results, groups=shared, data=SimpleNamespace(rank=0), rank=0)
    objective, batch = first_batch(run)
    results = StepResults()
    return read_batch(replace(run, world=world), counting or objective, iter([batch]), sharded, results), results


def test_a_process_has_its_part_in_the_mean(run: TrainingRun) -> None:
    taken, results = read(run, weight=6, paths=["x.png", "y.png"])
    assert taken.part == (pytest.approx(2 / 8), 8)
    assert [path.name for path in results.paths][-2:] == ["x.png", "y.png"]
    assert taken.plan == run.plan


def test_processes_that_share_images_count_each_once(run: TrainingRun) -> None:
    taken, results = read(run, ranks=2)
    assert taken.part == (1, 2)
    assert len(results.paths) == 2


@pytest.mark.parametrize(("own", "other", "part"), [(2.0, 6.0, (1 / 4, 8)), (0.0, 6.0, (0, 6)), (0.0, 0.0, (0, 0))])
def test_a_process_may_count_its_own_groups(
    run: TrainingRun, own: float, other: float, part: tuple[float, float]
) -> None:
    """Labelled pixels, of which the parts of an image have different numbers; there may be none."""
    counting = SimpleNamespace(counts_own_groups=True, weight=lambda batch: own)
    taken, results = read(run, ranks=2, counting=counting, weight=other)
    assert taken.part == part
    assert len(results.paths) == 2


def test_processes_that_share_images_must_have_read_the_same(run: TrainingRun) -> None:
    with pytest.raises(FitError, match=r"\.png replaces an image of which only a part can be read"):
        read(run, ranks=2, paths=["other.png", "other.png"])


@pytest.mark.parametrize(("plan", "calls"), [(ExecutionPlan(), 1), (ExecutionPlan(kind="recompute", handful=4), 25)])
def test_a_sharded_layer_is_called_equally_often(run: TrainingRun, plan: ExecutionPlan, calls: int) -> None:
    """The other process has 100 groups, and more shapes."""
    run = replace(run, plan=plan)
    taken, _ = read(run, sharded=True, groups=100, shapes=4)
    assert (taken.plan.calls, taken.plan.shapes) == (calls, 4)
    assert read(run, groups=100)[0].plan == plan


@pytest.mark.walk(2)
@pytest.mark.parametrize("kind", ["plain", "recompute"])
@pytest.mark.parametrize("task", TASKS)
def test_a_call_without_groups_adds_nothing(task: str, kind: Literal["plain", "recompute"], tmp_path: Path) -> None:
    """A process with fewer groups than another makes as many calls."""
    run = run_of(two_classes(tmp_path / "data"), tmp_path / "run", task=task, size=16, patch=4)
    objective, batch = first_batch(run)
    model = build(run.config.model)
    results = []
    for calls in (0, 4):
        plan = ExecutionPlan(kind=kind, calls=calls)
        loss = run_job(objective.job(model, batch, plan), plan).loss
        results.append((loss, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}))
        model.zero_grad(set_to_none=True)
    torch.testing.assert_close(results[1], results[0])
