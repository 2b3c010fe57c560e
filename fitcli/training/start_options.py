"""How a run is begun or continued this time: what one start of the command says, and the run does not keep."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from fitcli.device.runtime import Runtime
from fitcli.distributed.world import ALONE, World


@dataclass(frozen=True, kw_only=True, slots=True)
class Launch:
    """What belongs to one start of a job, on each of its processes.

    Attributes:
        data: The data set.
        folder: Of the run.
        runtime: Where to train.
        resume: Continue the run in the folder with its own settings.
        given: Which options the user gave; on resuming, only they count, see `TrainSettings.resumed`.
        accept_changed_data: Go on with a data set that has changed since.
        memory_bytes: That training may use where it computes; None for a share of what is free. A run that is resumed
            without it is executed as before.
        deadline: When the process has to stop, as `time.monotonic` counts.
        world: The processes that share the work; all of them prepare.
        shard: They share the weights out, too.
    """

    data: Path
    folder: Path
    runtime: Runtime
    resume: bool = False
    given: Collection[str] = ()
    accept_changed_data: bool = False
    memory_bytes: int | None = None
    deadline: float = math.inf
    world: World = ALONE
    shard: bool = False
