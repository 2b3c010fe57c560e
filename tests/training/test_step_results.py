"""Losses and scores of the passes of a step, added up over passes and processes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

from fitcli.device.transfer import PendingRead
from fitcli.distributed.world import ALONE, World
from fitcli.tasks.task import DeferredScores
from fitcli.training import step_results
from fitcli.training.step_results import PassResult, StepResults


def one_pass(loss: float, weight: float, right: int | None, divisor: float = 1.0) -> PassResult:
    scores = None
    if right is not None:
        scores = DeferredScores(torch.tensor([right, 1.0]), lambda values: {"right": values[0], "images": values[1]})
    return PassResult(torch.tensor(loss), weight, divisor, scores)


def read(results: StepResults, passes: list[PassResult], norm: torch.Tensor, world: World) -> None:
    for each in passes:
        results.read_some(world)
        results.add(each)
    results.begin_reading(norm)
    results.receive(world)


def test_a_single_process() -> None:
    results = StepResults()
    read(results, [one_pass(2.0, 1.0, 3), one_pass(4.0, 1.0, None)], torch.tensor(5.0), ALONE)
    assert (results.loss, results.norm) == (3.0, 5.0)
    assert dict(results.scores) == {"right": 3.0, "images": 1.0}


def test_passes_count_by_their_divisors() -> None:
    """A mean over 1 + 3 images, not a mean of two means."""
    results = StepResults()
    read(results, [one_pass(2.0, 1.0, None), one_pass(4.0, 1.0, None, divisor=3.0)], torch.tensor(5.0), ALONE)
    assert results.loss == pytest.approx((2.0 + 3 * 4.0) / 4)


def test_two_processes_with_unequal_parts_of_a_batch() -> None:
    """Losses are weighted by the part of the batch, scores are sums over images."""
    own, other = [one_pass(2.0, 0.25, 1)], {"loss": 0.75 * 6.0, "scores": {"right": 2.0}}

    @dataclass(frozen=True, slots=True)
    class Two(World):
        def gather(self, value: Any) -> list[Any]:
            return [value, [other]]

    results = StepResults()
    read(results, own, torch.tensor(1.0), Two(**{name: getattr(ALONE, name) for name in World.__slots__}))
    assert results.loss == pytest.approx(0.25 * 2.0 + 0.75 * 6.0)
    assert dict(results.scores) == {"right": 3.0, "images": 1.0}
    assert replace(results, loss=0.0).norm == 1.0


@pytest.mark.parametrize("most", [1, 3, 7])
def test_many_passes_are_read_in_between(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """The results are the same to the bit, and no more passes than that stay on the device."""
    numbers = np.random.default_rng(0).random((7, 2)).tolist()
    passes = [one_pass(loss, 0.7, number, divisor) for number, (loss, divisor) in enumerate(numbers)]
    expected, results, reads = StepResults(), StepResults(), []
    read(expected, passes, torch.tensor(5.0), ALONE)

    def begin(tensors: Any) -> PendingRead:
        reads.append(len(tensors))
        return PendingRead(tensors)

    monkeypatch.setattr(step_results, "MOST_UNREAD", most)
    monkeypatch.setattr(step_results, "PendingRead", begin)
    read(results, passes, torch.tensor(5.0), ALONE)
    assert results == expected
    assert len(reads) == -(-7 // most)
    assert max(reads) <= 2 * most + 1


def test_the_first_images_are_named() -> None:
    results = StepResults()
    for names in ("ab", "cde", "f"):
        results.name(list(names))
    assert [str(path) for path in results.paths] == ["a", "b", "c", "d"]
