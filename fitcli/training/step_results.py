"""Results of an optimizer step: those of all its passes, read from the device in one transfer per
`MOST_UNREAD` passes.

Every single `.item()` would make the host wait for the device, and then the device for the host. So the last transfer
of a step only begins with it; the results are received when the device has other work.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from fitcli.device.transfer import PendingRead
from fitcli.distributed.world import World
from fitcli.tasks.task import DeferredScores
from fitcli.training.finite_check import NAMED

MOST_UNREAD = 1024
"""Passes whose results may stay on the device. A step of more passes reads them in between: memory must not grow with
`--accumulate`, of which a pass leaves 16 bytes."""


class PassResult(NamedTuple):
    """Result of one pass in this process.

    Attributes:
        loss: Scalar on the device.
        weight: Part of this process in the mean over the batch of all processes.
        divisor: Divisor of the mean over the batch of all processes: a number of images or patches.
        scores: Other scores of the task; None without.
    """

    loss: Tensor
    weight: float
    divisor: float
    scores: DeferredScores | None


@dataclass(slots=True)
class StepResults:
    """Results of an optimizer step over all processes.

    Attributes:
        loss: Mean over all images, patches or labelled pixels of the step; 0 if nothing counts.
        norm: Norm of the gradient before clipping.
        patches: Number of patches without padding.
        waited: Seconds that this process waited for batches, its own and those of other processes.
        scores: Scores of the task, summed over the images.
        paths: Files of the first images, at most `NAMED`.
        divisors: Divisor of each pass.
        norm_on_device: Scalar tensor of the norm, until the results are received; the same on all processes.

    Loss, norm and scores are those of the whole step once `receive` has returned.
    """

    loss: float = 0.0
    norm: float = 0.0
    patches: int = 0
    waited: float = 0.0
    scores: Counter[str] = field(default_factory=Counter)
    paths: list[Path] = field(default_factory=list)
    divisors: array[float] = field(default_factory=lambda: array("d"))
    norm_on_device: Tensor | None = None
    _losses: array[float] = field(default_factory=lambda: array("d"))
    _unread: list[PassResult] = field(default_factory=list)
    _pending: PendingRead | None = None

    @property
    def unit(self) -> float:
        """Divisor of the first pass in which anything counts; 0 if there is none yet."""
        return next(filter(None, self.divisors), 0.0)

    def name(self, paths: Sequence[str]) -> None:
        """Keep the files of the first images of the step."""
        self.paths += map(Path, paths[: max(0, NAMED - len(self.paths))])

    def add(self, result: PassResult) -> None:
        """Add the result of the next pass; passes are equally many on all processes."""
        self.divisors.append(result.divisor)
        self._unread.append(result)

    def read_some(self, world: World) -> None:
        """Read the results so far if they are many. All processes call it before each pass."""
        if len(self._unread) >= MOST_UNREAD:
            self._begin([])
            self._receive(0, world)

    def begin_reading(self, norm: Tensor) -> None:
        """Begin to read the results of this process after the last pass. The host does not wait.

        Args:
            norm: Norm of the gradient: a scalar, the same on all processes.
        """
        self.norm_on_device = norm
        self._begin([norm])

    def receive(self, world: World) -> None:
        """Wait for the results of this process, and add up those of all processes."""
        ((self.norm,),), self.norm_on_device = self._receive(1, world), None
        total, ranks = sum(self.divisors) or 1, len(self._losses) // len(self.divisors)
        # Python adds in double precision, in one order: the sum is the same on all processes, to the bit.
        for number, loss in enumerate(self._losses):
            self.loss += loss * (self.divisors[number // ranks] / total)

    def _begin(self, others: list[Tensor]) -> None:
        """Begin to read the passes that are not read yet, and other tensors."""
        deferred = [each.scores.values for each in self._unread if each.scores is not None]
        self._pending = PendingRead([*others, *(each.loss for each in self._unread), *deferred])

    def _receive(self, others: int, world: World) -> list[list[float]]:
        """Receive the passes, and the values of the other tensors, which are returned."""
        assert self._pending is not None
        found, self._pending = self._pending.receive(), None
        passes, self._unread = self._unread, []
        rest = found[others:]
        losses, values = [loss for (loss,) in rest[: len(passes)]], iter(rest[len(passes) :])
        own = [
            {"loss": loss * each.weight, "scores": {} if each.scores is None else each.scores.scores(next(values))}
            for loss, each in zip(losses, passes, strict=True)
        ]
        for of_all_ranks in zip(*world.gather(own), strict=True):
            for result in of_all_ranks:
                self._losses.append(result["loss"])
                self.scores.update(result["scores"])
        return found[:others]
