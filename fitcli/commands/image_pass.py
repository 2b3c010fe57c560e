"""What commands that run a model over images share: the options of a pass, its opening, its results.

Never imports torch at module level.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

import typer

from fitcli import console
from fitcli.commands.options import (
    BackgroundThreshold,
    Channels,
    Compile,
    DeviceName,
    FocalPlane,
    GroupParallel,
    InferencePrecisionName,
    Memory,
    Mpp,
    PrecisionName,
    PyramidLevel,
    SeriesName,
    SkipBackground,
    StateFolder,
    Timeout,
    TimePoint,
    background_choice,
    reading_choice,
)
from fitcli.distributed.heartbeat import TIMEOUT_MINUTES
from fitcli.errors import FitError
from fitcli.tasks.shared_options import BACKGROUND_THRESHOLD

if TYPE_CHECKING:
    from fitcli.device.runtime import Runtime
    from fitcli.distributed.image_queue import ImageQueue
    from fitcli.runs.weights import Checkpoint, TaskModel
    from fitcli.tasks.encoding.encode import EncodingSettings
    from fitcli.tasks.task import Task

    M = TypeVar("M", bound=TaskModel)
else:
    M = TypeVar("M")

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class OpenedRun(Generic[M]):
    """A run that is ready for passes over images.

    Attributes:
        model: The model and its preprocessing.
        runtime: Device and precision.
        settings: Choice of pixels of each image, and limits of a pass.
    """

    model: Checkpoint[M]
    runtime: Runtime
    settings: EncodingSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoringOptions:
    """Options of a command that scores images with a model of any task. `with_fields` declares them.

    On a CPU, `--precision auto` is fp32, as in training: scores equal those of the validation.
    """

    float32_on_cpu: ClassVar[bool] = True

    mpp: Mpp = None
    level: PyramidLevel = None
    series: SeriesName = None
    z: FocalPlane = None
    t: TimePoint = None
    channels: Channels = None
    skip_background: SkipBackground = None
    background_threshold: BackgroundThreshold = BACKGROUND_THRESHOLD
    memory: Memory = None
    device: DeviceName = "auto"
    precision: PrecisionName = "auto"
    compile: Compile = False
    timeout: Timeout = TIMEOUT_MINUTES
    group_parallel: GroupParallel = 1

    def connect(self) -> AbstractContextManager[ImageQueue]:
        """Refuse impossible options, and return the context of the processes that share the images."""
        from fitcli.distributed.image_queue import open_queue

        self.settings()
        return open_queue(self.device, 60 * self.timeout, self.group_parallel)

    def runtime(self) -> Runtime:
        """Return the device and the precision, see `choose_runtime`."""
        from fitcli.device.runtime import choose_runtime

        return choose_runtime(
            self.device,
            self.precision,
            inference=True,
            compiled=self.compile,
            memory_bytes=self.memory,
            float32_on_cpu=self.float32_on_cpu,
        )

    def settings(self, state: Path | None = None) -> EncodingSettings:
        """Return what is read of each image, and the limits of a pass.

        Raises:
            FitError: Two options exclude each other.
        """
        from fitcli.tasks.encoding.encode import EncodingSettings

        return EncodingSettings(
            background=background_choice(self.skip_background, self.background_threshold),
            memory_bytes=self.memory,
            state=state,
            read_as=reading_choice(self.level, self.mpp, self.series, self.z, self.t, self.channels),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ExactPassOptions(ScoringOptions):
    """Options of a command whose answers for places of an image equal those that `fit evaluate` scores."""

    state: StateFolder = None

    def connect(self) -> AbstractContextManager[ImageQueue]:
        """Refuse impossible options, and return the context of the processes that share the images or each image.

        Raises:
            FitError: Two options exclude each other.
        """
        if self.state is not None and self.group_parallel > 1:
            raise FitError(
                "--state keeps the unfinished work of one process; leave it out with --group-parallel, or let the "
                "processes share the images instead"
            )
        return super(ExactPassOptions, self).connect()

    def open(self, queue: ImageQueue, checkpoint: Path, task: Task[M]) -> OpenedRun[M]:
        """Load a run of a task. If the processes share each image, all but the first one help with its passes here.

        Args:
            queue: The processes, of `connect`.
            checkpoint: Run folder.
            task: The task.

        Raises:
            CheckpointError: The folder holds no run of the task.
            DeviceError: The device cannot be used.
        """
        from fitcli.tasks.encoding.shared_pass import help_with_passes
        from fitcli.tasks.load import load_run

        runtime = self.runtime()
        model, settings = load_run(checkpoint, runtime, task), self.settings(self.state)
        if queue.shares_images:
            help_with_passes(queue.world, model, runtime)
            settings = replace(settings, team=queue.world)
        return OpenedRun(model, runtime, settings)


@dataclass(frozen=True, kw_only=True, slots=True)
class PassOptions(ExactPassOptions):
    """Options of a command that runs an encoder over each of its images, in the fastest precision."""

    float32_on_cpu: ClassVar[bool] = False

    precision: InferencePrecisionName = "auto"


def finish(
    results: Sequence[R | None],
    json: bool,
    columns: Iterable[str],
    row: Callable[[R], Iterable[str | Sequence[str]]],
) -> None:
    """Print the results of the images. The exit code is 1 if some are None.

    Args:
        results: Results of the images, as JSON data; None for an image that could not be read.
        json: Whether to print them as one JSON document.
        columns: Header of the table.
        row: Returns the row of a result.
    """
    good = [result for result in results if result is not None]
    if json:
        console.json(good)
    elif good:
        console.table(tuple(columns), [tuple(row(result)) for result in good])
    if len(good) < len(results):
        raise typer.Exit(1)
