"""Returns the classes of an open image as an array, for maps that fit into memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitcli.device.runtime import Runtime
from fitcli.images.base import ImageReader
from fitcli.patches.grid import PatchGrid
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.encoding.encode import EncodingSettings
from fitcli.tasks.segment.missing_cells import without_missing_cells
from fitcli.tasks.segment.segment_image import DEFAULTS, segment_image
from fitcli.tasks.segment.strips import Strips
from models.dense import FITDense


def cell_map(
    checkpoint: Checkpoint[FITDense], image: ImageReader, runtime: Runtime, settings: EncodingSettings = DEFAULTS
) -> NDArray[np.uint8]:
    """Return the class number of every cell, [rows columns]; 255 in groups that were left out as
    background, and where the image has no pixel.

    Args:
        checkpoint: The model and its preprocessing.
        image: The open image. A cell covers `checkpoint.model.config.cell` pixels of it per side.
        runtime: Device and precision.
        settings: Background threshold, memory limit and folder for the state.

    Raises:
        ImageError, OutOfMemory, FitError, NonFiniteOutput: See `segment_image`.
    """
    model, rows = checkpoint.model.config, list[NDArray[Any]]()
    grid = PatchGrid(image.info.size, model.patch, model.group)
    take = without_missing_cells(image, grid, model.cell, lambda _, row: rows.append(row))
    strips = Strips(grid, model.cells, take)
    segment_image(checkpoint, image, runtime, settings, strips.put)
    strips.finish()
    return np.concatenate(rows)
