"""Results of an optimizer step: those of all its passes, read from the device in one transfer per
`MOST_UNREAD` passes.

Every single `.item()` would make the host wait for the device, and then the device for the host.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from fitcli.device.transfer import read_together
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
        loss: Mean over all images or patches of the step.
        norm: Norm of the gradient before clipping.
        patches: Number of patches without padding.
        waited: Seconds that this process waited for batches, its own and those of other processes.
        scores: Scores of the task, summed over the images.
        paths: Files of the first images, at most `NAMED`.
        divisors: Divisor of each pass.
    """

    loss: float = 0.0
    norm: float = 0.0
    patches: int = 0
    waited: float = 0.0
    scores: Counter[str] = field(default_factory=Counter)
    paths: list[Path] = field(default_factory=list)
    divisors: array[float] = field(default_factory=lambda: array("d"))
    _losses: array[float] = field(default_factory=lambda: array("d"))
    _unread: list[PassResult] = field(default_factory=list)

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
            self._read([], world)

    def read(self, norm: Tensor, world: World) -> None:
        """Read the results of this process, and add up those of all processes.

        Args:
            norm: Norm of the gradient: a scalar, the same on all processes.
            world: All processes.
        """
        ((self.norm,),) = self._read([norm], world)
        total, ranks = sum(self.divisors), len(self._losses) // len(self.divisors)
        # Python adds in double precision, in one order: the sum is the same on all processes, to the bit.
        for number, loss in enumerate(self._losses):
            self.loss += loss * (self.divisors[number // ranks] / total)

    def _read(self, others: list[Tensor], world: World) -> list[list[float]]:
        """Read the passes that are not read yet, and other tensors, whose values are returned."""
        passes, self._unread = self._unread, []
        deferred = [each.scores.values for each in passes if each.scores is not None]
        found = read_together([*others, *(each.loss for each in passes), *deferred])
        rest = found[len(others) :]
        losses, values = [loss for (loss,) in rest[: len(passes)]], iter(rest[len(passes) :])
        own = [
            {"loss": loss * each.weight, "scores": {} if each.scores is None else each.scores.scores(next(values))}
            for loss, each in zip(losses, passes, strict=True)
        ]
        for of_all_ranks in zip(*world.gather(own), strict=True):
            for result in of_all_ranks:
                self._losses.append(result["loss"])
                self.scores.update(result["scores"])
        return found[: len(others)]
