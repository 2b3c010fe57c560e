"""Validation images are read without augmentation, and sums are taken over those that can be used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.small_runs import first_batch, run_of, two_classes

from fitcli.data.dataset import Sample
from fitcli.distributed.world import ALONE
from fitcli.errors import DataError, ImageError, OutOfMemory
from fitcli.execution.plan import ExecutionPlan
from fitcli.tasks.context import TrainingRun
from fitcli.tasks.validation import gather_scores, score_by_turns, shared_sums, validation_loader, with_less_memory


@pytest.fixture
def run(tmp_path: Path) -> TrainingRun:
    return run_of(two_classes(tmp_path / "data"), tmp_path / "run", max_bad_images=3)


def test_every_image_is_read_once_as_it_is(run: TrainingRun) -> None:
    objective, _ = first_batch(run)
    assert objective.reading.rules.augment
    loader = validation_loader(run, run.dataset.validation, objective.reading)
    first, again = (list(loader.fixed()) for _ in range(2))
    assert sum(batch.images for batch in first) == len(run.dataset.validation)
    for one, other in zip(first, again, strict=True):
        assert one.patches.equal(other.patches)


def test_sums_need_a_usable_image(run: TrainingRun) -> None:
    assert shared_sums(run, lambda: {"loss": 3.0, "patches": 2.0}) == {"loss": 3.0, "patches": 2.0}
    with pytest.raises(DataError, match="neither this nor any other validation image can be used"):
        shared_sums(run, lambda: {"loss": 0.0, "patches": 0.0})


def test_one_process_gathers_its_own_scores(run: TrainingRun) -> None:
    assert gather_scores(run.world, run.bad_images, lambda: [1, 2]) == [[1, 2]]


def test_images_are_scored_in_order_and_bad_ones_are_counted(run: TrainingRun) -> None:
    samples = [Sample(Path(f"{number}.png"), number) for number in range(4)]

    def score(sample: Sample, path: Path) -> tuple[str, int]:
        if sample.target == 2:
            raise ImageError(path, "is broken")
        return path.name, sample.target

    assert score_by_turns(samples, run.bad_images, ALONE, score) == [
        (0, ("0.png", 0)), (1, ("1.png", 1)), (3, ("3.png", 3))
    ]  # fmt: skip
    assert [bad.path.name for bad in run.bad_images.take_pending()] == ["2.png"]


def test_processes_score_other_images_and_get_all_scores(run: TrainingRun) -> None:
    samples = [Sample(Path(f"{number}.png"), number) for number in range(5)]
    own: list[int] = []

    class Pair:
        """The second of two processes; the first has scored the even images."""

        rank, size = 1, 2

        def gather_results(self, act: Callable[[], Any]) -> list[Any]:
            return [{"scores": [(0, 0), (2, 2), (4, 4)], "bad": []}, act()]

    world: Any = Pair()
    found = score_by_turns(
        samples, run.bad_images, world, lambda sample, path: own.append(sample.target) or sample.target
    )
    assert own == [1, 3]
    assert found == [(number, number) for number in range(5)]


def test_memory_that_runs_out_on_a_process_is_one_line(run: TrainingRun) -> None:
    def exhaust() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.\nMore.")

    with pytest.raises(OutOfMemory, match="out of memory on cuda"):
        gather_scores(run.world, run.bad_images, exhaust)


RECOMPUTE = ExecutionPlan(kind="recompute", handful=4, keep=0.5)


@pytest.mark.walk(1)
@pytest.mark.parametrize(
    ("plan", "groups", "second"),
    [
        (ExecutionPlan(), 6, ExecutionPlan(kind="recompute", handful=3)),
        (ExecutionPlan(kind="layers"), 7, ExecutionPlan(kind="recompute", handful=3)),
        (RECOMPUTE, 100, replace(RECOMPUTE, handful=2)),
        (RECOMPUTE, 2, replace(RECOMPUTE, handful=1)),
        (
            ExecutionPlan(kind="stream", handful=4, store="disk"),
            100,
            ExecutionPlan(kind="stream", handful=2, store="disk"),
        ),
    ],
)
def test_a_batch_is_computed_again_in_handfuls_of_half_the_size(
    run: TrainingRun, plan: ExecutionPlan, groups: int, second: ExecutionPlan
) -> None:
    run = replace(run, plan=plan)
    plans: list[ExecutionPlan] = []
    assert with_less_memory(run, groups, failing(plans, 0)) == 0.5
    assert plans == [plan]
    plans.clear()
    assert with_less_memory(run, groups, failing(plans, 1)) == 0.5
    assert plans == [plan, second]
    with pytest.raises(OutOfMemory):
        with_less_memory(run, groups, failing([], 2))


def failing(plans: list[ExecutionPlan], failures: int) -> Callable[[ExecutionPlan], float]:
    def losses(plan: ExecutionPlan) -> float:
        plans.append(plan)
        if len(plans) <= failures:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return 0.5

    return losses
