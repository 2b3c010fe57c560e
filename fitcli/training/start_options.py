"""The options that belong to one start of `fit train`, and that the run folder does not keep."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from fitcli.device.runtime import Runtime
from fitcli.distributed.world import ALONE, World


@dataclass(frozen=True, kw_only=True, slots=True)
class StartOptions:
    """Options of one start, or of one continuation, of a run. Each process of the job has its own.

    Attributes:
        data: Data set.
        folder: Run folder.
        images: Folder that the paths of a CSV file are relative to; None for that of the file.
        runtime: Device and precision.
        resume: Whether to continue the run in the folder, with its own settings.
        given: Names of the options that the user gave; a resumed run takes only these, see `TrainSettings.resumed`.
        accept_changed_data: Whether a resumed run accepts a data set that has changed.
        memory_bytes: Memory that training may use on its device; None to choose by what is free. Without it, a resumed
            run keeps its execution.
        compile_if_it_pays: Whether to compile the layers of a run on a CUDA device that is long enough.
        deadline: Time at which the process has to stop, on the clock of `time.monotonic`.
        world: Processes that share the work; all of them call `prepare`.
        shard: Whether they also share the weights.
        workers: Number of images that each process reads at once; None for what its cores allow.
        report: Whether to write a page of the run while it trains.
    """

    data: Path
    folder: Path
    runtime: Runtime
    images: Path | None = None
    resume: bool = False
    given: Collection[str] = ()
    accept_changed_data: bool = False
    memory_bytes: int | None = None
    compile_if_it_pays: bool = False
    deadline: float = math.inf
    world: World = ALONE
    shard: bool = False
    workers: int | None = None
    report: bool = True
