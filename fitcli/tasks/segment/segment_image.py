"""Names the class of every cell of an open image of any size, in one pass."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fitcli.device.runtime import Runtime
from fitcli.images.base import ImageReader
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.encoding.dense_pass import DensePass, run_dense_pass
from fitcli.tasks.encoding.encode import EncodingSettings
from fitcli.tasks.segment.sample_pass import SEGMENTING
from models.dense import FITDense

DEFAULTS = EncodingSettings()

TakeCells = Callable[[list[tuple[int, int]], Tensor], None]
"""Takes (row, column) of some groups, in order, and the values of their cells [part n q*q ...], on the host."""

CellValues = Callable[[Tensor], Tensor]
"""Maps the logits of cells [... k] to what is kept of them, [...] or [... k] uint8."""


def most_probable(logits: Tensor) -> Tensor:
    """Return the number of the most probable class of each cell, [...] uint8; of several, the first."""
    return logits.argmax(dim=-1).to(torch.uint8)


def probability_bytes(logits: Tensor) -> Tensor:
    """Return the probabilities [... k] of the classes as bytes: 255 stands for 1."""
    return (logits.float().softmax(dim=-1) * 255).round_().to(torch.uint8)


def segment_image(
    checkpoint: Checkpoint[FITDense],
    image: ImageReader,
    runtime: Runtime,
    settings: EncodingSettings,
    take: TakeCells,
    values: CellValues = most_probable,
    advance: Callable[[float], None] = lambda share: None,
    finish_bytes: int = 0,
    purpose: str = "segment",
) -> DensePass:
    """Name the class of every cell of an image, reading it a few groups at a time.

    Args:
        checkpoint: The model and its preprocessing.
        image: The open image; level 0 is read once, and once more to find background if the image has no smaller level.
        runtime: Device and precision.
        settings: Background threshold, memory limit and folder for the state.
        take: Takes the values of the cells, in order.
        values: Function from the logits of cells to the values that are kept, see `CellValues`.
        advance: Called with the share of the work that was just done; the shares sum to 1.
        finish_bytes: Memory to reserve for what `take` does.
        purpose: Use of the result; a state is continued only for the same purpose.

    Raises:
        ImageError: The image cannot be read, or is not of a kind that the model was trained on.
        OutOfMemory: The image needs more memory than the limit, or than there is.
        FitError: The state belongs to another job.
        NonFiniteOutput: The predictions are NaN or infinite.
    """
    return run_dense_pass(
        checkpoint,
        image,
        runtime,
        settings,
        passes=SEGMENTING,
        keep=lambda cells, places, grid: values(cells),
        take=take,
        purpose=purpose,
        advance=advance,
        finish_bytes=finish_bytes,
    )
