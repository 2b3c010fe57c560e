"""Results of an optimizer step: those of all its passes, read from the device in one transfer.

Every single `.item()` would make the host wait for the device, and then the device for the host.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from fitcli.device.transfer import read_together
from fitcli.distributed.world import World
from fitcli.tasks.task import DeferredScores


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
        paths: Files of the images.
    """

    loss: float = 0.0
    norm: float = 0.0
    patches: int = 0
    waited: float = 0.0
    scores: Counter[str] = field(default_factory=Counter)
    paths: list[Path] = field(default_factory=list)

    def read(self, passes: list[PassResult], norm: Tensor, world: World) -> None:
        """Read the results of this process, and add up those of all processes.

        Args:
            passes: Results in their order, equally many on all processes.
            norm: Norm of the gradient: a scalar, the same on all processes.
            world: All processes.
        """
        deferred = [each.scores.values for each in passes if each.scores is not None]
        (self.norm,), *rest = read_together([norm, *(each.loss for each in passes), *deferred])
        losses, values = [loss for (loss,) in rest[: len(passes)]], iter(rest[len(passes) :])
        own = [
            {"loss": loss * each.weight, "scores": {} if each.scores is None else each.scores.scores(next(values))}
            for loss, each in zip(losses, passes, strict=True)
        ]
        # Python adds in double precision, in one order: the sum is the same on all processes, to the bit.
        total = sum(each.divisor for each in passes)
        for each, of_all_ranks in zip(passes, zip(*world.gather(own), strict=True), strict=True):
            for result in of_all_ranks:
                self.loss += result["loss"] * (each.divisor / total)
                self.scores.update(result["scores"])
