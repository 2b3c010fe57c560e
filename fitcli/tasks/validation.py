"""Functions that the validation of all tasks shares: a loader without augmentation, and sums over processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar

from fitcli.data.bad_images import BadImages, first_good
from fitcli.data.dataset import Sample
from fitcli.data.loader import Loader
from fitcli.data.read_item import Reading
from fitcli.distributed.world import World, totals
from fitcli.errors import DataError
from fitcli.execution.plan import ExecutionPlan
from fitcli.memory.retry import one_line, with_less
from fitcli.tasks.context import TrainingRun

T = TypeVar("T")


def validation_loader(run: TrainingRun, samples: Sequence[Sample], reading: Reading) -> Loader:
    """Return a loader of validation images without augmentation. Each image is read by one process of the run."""
    return Loader(
        samples,
        replace(reading, rules=replace(reading.rules, augment=False)),
        run.settings.batch_size,
        run.reader_threads,
        bad_images=run.bad_images,
        share=run.world.everyone,
    )


def with_less_memory(run: TrainingRun, groups: int, losses: Callable[[ExecutionPlan], T]) -> T:
    """Compute the losses of a batch as its step would be executed; if memory runs out, in handfuls of half the size.

    Args:
        run: The run.
        groups: Number of groups of the batch.
        losses: Computes the losses with an execution.

    Raises:
        OutOfMemory: Memory ran out twice.
    """
    handful = min(run.plan.handful, groups) if run.plan.in_handfuls else groups

    def compute(amount: int) -> T:
        if amount >= handful:
            return losses(run.plan)
        return losses(replace(run.plan, kind=run.plan.kind if run.plan.in_handfuls else "recompute", handful=amount))

    return with_less(run.runtime.device, compute, handful)


def shared_sums(run: TrainingRun, own_sums: Callable[[], dict[str, float]]) -> dict[str, float]:
    """Return sums over all validation images: each process adds up its part, and the processes add up the parts.

    Args:
        run: The run. Its processes share which images are unusable.
        own_sums: Returns the sums of one process by name. One of them is "patches".

    Raises:
        TooManyBadImages: More images than allowed are unusable.
        DataError: No image is usable.
    """
    sums = totals(gather_scores(run.world, run.bad_images, own_sums))
    if not sums["patches"]:
        raise DataError(f"{run.dataset.validation[0].path}: neither this nor any other validation image can be used")
    return sums


def score_by_turns(
    samples: Sequence[Sample], bad_images: BadImages, world: World, score: Callable[[Sample, Path], T]
) -> list[tuple[int, T]]:
    """Score images that processes take in turn. All processes get the scores of all, whatever their number.

    Args:
        samples: The images.
        bad_images: Counter of unusable images.
        world: The processes that share the images.
        score: Returns the scores of an image, from its sample and its path.

    Returns:
        The number and the scores of each image that could be read, in the order of the images.

    Raises:
        TooManyBadImages: More images than allowed are unusable.
        OutOfMemory: Memory ran out on a process.
    """

    def score_own() -> list[tuple[int, T]]:
        results = []
        for number in range(world.rank, len(samples), world.size):
            attempt = first_good(partial(score, samples[number]), [samples[number].path], 0)
            bad_images.add(attempt.failed)
            if attempt.result is not None:
                results.append((number, attempt.result))
        return results

    return sorted(chain.from_iterable(gather_scores(world, bad_images, score_own)), key=itemgetter(0))


def gather_scores(world: World, bad_images: BadImages, score_own: Callable[[], T]) -> list[T]:
    """Return the result of every process, in order, and share which images are unusable.

    Raises:
        TooManyBadImages: More images than allowed are unusable.
        OutOfMemory: Memory ran out on a process.
    """

    def act() -> dict[str, Any]:
        with one_line():
            return {"scores": score_own(), "bad": bad_images.take_unsent()}

    gathered = world.gather_results(act)
    for each in gathered:
        bad_images.receive(each["bad"])
    return [each["scores"] for each in gathered]
