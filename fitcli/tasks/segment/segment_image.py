"""Names the class of every cell of an open image of any size, in one pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fitcli.device.runtime import Runtime
from fitcli.images.base import ImageReader
from fitcli.memory.budget import MemoryPlan
from fitcli.patches.grid import PatchGrid
from fitcli.runs.finite_output import check_finite_groups
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.encoding.encode import EncodingPass, EncodingSettings, encoding
from fitcli.tasks.segment.sample_pass import SEGMENTING
from models.dense import FITDense, by_cell

DEFAULTS = EncodingSettings()

TakeCells = Callable[[list[tuple[int, int]], Tensor], None]
"""Takes (row, column) of some groups, in order, and the values of their cells [part n q*q ...], on the host."""

CellValues = Callable[[Tensor], Tensor]
"""Maps the logits of cells [... k] to what is kept of them, [...] or [... k] uint8."""


@dataclass(frozen=True, slots=True)
class SegmentedImage:
    """The pass over an image.

    Attributes:
        grid: Groups and patches over the image.
        places: (row, column) of the groups that were looked at; the others are background.
        plan: Execution of the pass.
    """

    grid: PatchGrid
    places: list[tuple[int, int]]
    plan: MemoryPlan


def most_probable(logits: Tensor) -> Tensor:
    """Return the number of the most probable class of each cell, [...] uint8; of several, the first."""
    return logits.argmax(dim=-1).to(torch.uint8)


def probability_bytes(logits: Tensor) -> Tensor:
    """Return the probabilities [... k] of the classes as bytes: 255 stands for 1."""
    return (logits.float().softmax(dim=-1) * 255).round_().to(torch.uint8)


@torch.inference_mode()
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
) -> SegmentedImage:
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
    with encoding(
        checkpoint, image, runtime, settings, purpose=purpose, passes=SEGMENTING, finish_bytes=finish_bytes
    ) as job:
        if job.state is None:
            job.run(advance, _sink(checkpoint, job, values, take))
        else:
            _run_with_state(checkpoint, job, values, take, advance)
        return SegmentedImage(job.grid, job.places, job.plan)


def _sink(
    checkpoint: Checkpoint[FITDense], job: EncodingPass, values: CellValues, take: TakeCells
) -> Callable[[slice, Tensor], None]:
    """Return the sink of the pass: from normalised tokens to the values of cells in host memory."""
    outputs, taken = checkpoint.model.config.outputs, 0

    def put(part: slice, tokens: Tensor) -> None:
        # A pass that ran out of memory starts again, and gives groups that were taken already.
        nonlocal taken
        skipped = max(0, taken - part.start)
        if part.start + skipped >= part.stop:
            return
        logits = by_cell(checkpoint.model.head(tokens[skipped:]), outputs)
        check_finite_groups(checkpoint, logits, "predictions", job.image.path)
        taken = part.stop
        take(job.places[part][skipped:], values(logits).cpu())

    return put


def _run_with_state(
    checkpoint: Checkpoint[FITDense],
    job: EncodingPass,
    values: CellValues,
    take: TakeCells,
    advance: Callable[[float], None],
) -> None:
    """Run the pass with its cells in the folder of the state, so that a resumed one need not compute them again."""
    model, example = checkpoint.model.config, torch.zeros(1, checkpoint.model.config.outputs)
    each = values(example)
    shape = (len(job.places), model.tokens, model.cells**2 * each[0].numel())
    host = torch.device("cpu")
    with job.keep("cells", shape, each.dtype) as store:
        starts = dict(zip(job.places, range(len(job.places)), strict=True))

        def put(places: list[tuple[int, int]], cells: Tensor) -> None:
            first = starts[places[0]]
            store.put(slice(first, first + len(places)), cells.flatten(2).to(host))

        job.run(advance, _sink(checkpoint, job, values, put))
        for start in range(0, len(job.places), job.plan.handful):
            part = slice(start, min(start + job.plan.handful, len(job.places)))
            cells = store.get(part)
            take(job.places[part], cells.reshape(*cells.shape[:2], model.cells**2, *each.shape[1:]))
