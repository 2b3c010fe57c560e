"""What the passes of an optimizer step tell. They leave it on the device; the host reads all of it at once.

A value that is read makes the host wait until the device has done everything before it, and the device wait for the
host to think of something new.
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


class Pass(NamedTuple):
    """One pass in this process.

    Attributes:
        loss: A scalar on the device.
        share: What it counts in the mean over the batch of all processes.
        scores: What it tells besides; None for nothing.
    """

    loss: Tensor
    share: float
    scores: DeferredScores | None


@dataclass(slots=True)
class StepResults:
    """What the batches of a step gave, on all processes.

    Attributes:
        loss: Mean over the batches.
        norm: Of the gradient, before clipping.
        patches: That are no padding.
        waited: Seconds for batches, in this process: for its own and for those of the others.
        scores: Of the task, summed over the images.
        paths: Of the images.
    """

    loss: float = 0.0
    norm: float = 0.0
    patches: int = 0
    waited: float = 0.0
    scores: Counter[str] = field(default_factory=Counter)
    paths: list[Path] = field(default_factory=list)

    def read(self, passes: list[Pass], norm: Tensor, world: World) -> None:
        """Read what the passes of this process gave, and add it up with what those of the others did.

        Args:
            passes: In their order, as many on all processes.
            norm: Of the gradient, a scalar, the same on all processes.
            world: All processes.
        """
        unread = [each.scores.values for each in passes if each.scores is not None]
        (self.norm,), *rest = read_together([norm, *(each.loss for each in passes), *unread])
        losses, values = [loss for (loss,) in rest[: len(passes)]], iter(rest[len(passes) :])
        own = [
            {"loss": loss * each.share, "scores": {} if each.scores is None else each.scores.scores(next(values))}
            for loss, each in zip(losses, passes, strict=True)
        ]
        # Added up in double precision, pass by pass and process by process: the same on all of them, to the bit.
        for told in zip(*world.gather(own), strict=True):
            for one in told:
                self.loss += one["loss"] / len(passes)
                self.scores.update(one["scores"])
