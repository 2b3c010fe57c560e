"""Chooses the execution of the passes that `fit evaluate` makes over the windows of an image, within `--memory`."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np

from fitcli.device.runtime import Runtime
from fitcli.images.base import ImageReader
from fitcli.images.reader_memory import reader_bytes
from fitcli.memory.budget import Work, plan_memory
from fitcli.memory.handfuls import usual_handful
from fitcli.memory.machine import host_budget
from fitcli.memory.retry import one_line
from fitcli.memory.samples import SamplePass
from fitcli.runs.weights import Checkpoint
from fitcli.streaming.token_store import StoreKind


class Scoring(NamedTuple):
    """What a scorer does with a window.

    Attributes:
        group_pixels: Height and width of a group.
        value_bytes: Bytes per value of a patch that enters the pass.
        values: Values per patch.
        output_values: Values of a patch whose predictions are scored, see `Work`.
        pixel_bytes: Bytes per value of the window beside those that are read: the whole window is in memory.
    """

    group_pixels: int
    value_bytes: int
    values: int
    output_values: int
    pixel_bytes: int


@dataclass(frozen=True, slots=True)
class ScoringLimit:
    """The memory limit of the passes of a scorer.

    Attributes:
        task: The pass.
        memory_bytes: Memory limit; None for a handful of the usual size, with the tokens in host memory.
    """

    task: SamplePass | None = None
    memory_bytes: int | None = None

    def execution(
        self,
        checkpoint: Checkpoint[Any],
        image: ImageReader,
        size: tuple[int, int] | None,
        runtime: Runtime,
        scoring: Scoring,
    ) -> tuple[int, StoreKind]:
        """Return the groups of a handful and the store for tokens, for the windows of an image.

        Args:
            checkpoint: The model and its preprocessing.
            image: The open image.
            size: (height, width) of a window; None for the whole image.
            runtime: Device and precision.
            scoring: Sizes of the values that the scorer processes per window.

        Raises:
            OutOfMemory: The limit is too low for this image.
        """
        config, device, info = checkpoint.model.config, runtime.device.type, image.info
        if self.task is None or self.memory_bytes is None:
            return usual_handful(config, "pass", device), "host"
        window = info.size if size is None else (min(size[0], info.height), min(size[1], info.width))
        work = Work(
            task=self.task,
            config=config,
            precision=runtime.precision,
            groups=prod(-(-side // scoring.group_pixels) for side in window),
            weights_bytes=sum(p.numel() * p.element_size() for p in checkpoint.model.parameters()),
            value_bytes=scoring.value_bytes,
            values=scoring.values,
            reader_bytes=reader_bytes(image, max(window)),
            window_bytes=prod(window) * info.channels * (2 * np.dtype(info.dtype).itemsize + scoring.pixel_bytes),
            output_values=scoring.output_values,
        )
        with one_line(image.path):
            plan = plan_memory(work, device, self.memory_bytes, host_budget(runtime))
        return plan.handful, plan.store


UNLIMITED = ScoringLimit()
"""No memory limit."""
