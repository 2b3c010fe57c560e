"""Looks at crops with a run of `fit train`, whose vectors the Fréchet distance compares."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fitcli.device.runtime import Runtime
from fitcli.errors import FitError
from fitcli.evaluation.quality.laplacian_pyramid import LEAST_SIDE
from fitcli.images.array_image import ArrayReader
from fitcli.images.base import Pixels
from fitcli.patches.preprocessing import Preprocessing
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.encoding.encode import EncodingSettings
from fitcli.tasks.image_output import output_info
from fitcli.tasks.load import load_run
from fitcli.tasks.registry import find_task


def crop_vectors(
    folder: Path, preprocessing: Preprocessing, runtime: Runtime, memory_bytes: int | None
) -> Callable[[Pixels], list[float]]:
    """Return the function from crops to the vectors of a run. One black crop shows that it works.

    Args:
        folder: Run that looks at the crops.
        preprocessing: Pixels of the crops.
        runtime: Device and precision.
        memory_bytes: Memory limit of a vector; None for a share of what is free.

    Raises:
        CheckpointError: The run cannot be used.
        FitError: It looks at other images, or has no vector of an image.
    """
    checkpoint: Checkpoint[Any] = load_run(folder, runtime)
    task, info = find_task(checkpoint.config.task), output_info((LEAST_SIDE, LEAST_SIDE), preprocessing)
    if (reason := checkpoint.config.preprocessing.mismatch(info)) is not None:
        raise FitError(f"--features-from {folder}: cannot look at images of this run: an image {reason}")
    encoding = EncodingSettings(background=None, memory_bytes=memory_bytes, plans={})

    def vector_of(pixels: Pixels) -> list[float]:
        return task.image_vector(checkpoint, ArrayReader(pixels, color=info.color), runtime, encoding)

    vector_of(np.zeros((LEAST_SIDE, LEAST_SIDE, info.channels), info.dtype))
    return vector_of
