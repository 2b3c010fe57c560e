"""Computes what a model with an answer at every place gives for the groups of an open image, in one pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from fitcli.device.runtime import Runtime
from fitcli.images.base import ImageReader
from fitcli.memory.budget import MemoryPlan
from fitcli.memory.samples import SamplePass
from fitcli.patches.grid import PatchGrid
from fitcli.runs.finite_output import check_finite_groups
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.encoding.encode import EncodingPass, EncodingSettings, encoding
from models.dense import FITDense, by_cell

Places = list[tuple[int, int]]
"""(row, column) of some groups, in order."""

TakeValues = Callable[[Places, Tensor], None]
"""Takes some groups, in order, and what is kept of each, [part ...], on the host."""

KeptValues = Callable[[Tensor, Places, PatchGrid], Tensor]
"""Maps the values of cells [part n q*q o] of some groups, on the device, to what is kept of each group, [part ...]; the
shape behind the first axis is always the same."""


@dataclass(frozen=True, slots=True)
class DensePass:
    """The pass over an image.

    Attributes:
        grid: Groups and patches over the image.
        places: (row, column) of the groups that were looked at; the others are background.
        plan: Execution of the pass.
    """

    grid: PatchGrid
    places: Places
    plan: MemoryPlan


@torch.inference_mode()
def run_dense_pass(
    checkpoint: Checkpoint[FITDense],
    image: ImageReader,
    runtime: Runtime,
    settings: EncodingSettings,
    *,
    passes: SamplePass,
    keep: KeptValues,
    take: TakeValues,
    purpose: str,
    advance: Callable[[float], None] = lambda share: None,
    finish_bytes: int = 0,
) -> DensePass:
    """Read an image a few groups at a time and hand on what is kept of the cells of each.

    Args:
        checkpoint: The model and its preprocessing.
        image: The open image; level 0 is read once, and once more to find background if the image has no smaller level.
        runtime: Device and precision.
        settings: Background threshold, memory limit and folder for the state.
        passes: The pass over a sample image, which tells its memory.
        keep: Function from the values of cells to what is kept, see `KeptValues`.
        take: Takes what is kept, in order, each group once.
        purpose: Use of the result; a state is continued only for the same purpose.
        advance: Called with the share of the work that was just done; the shares sum to 1.
        finish_bytes: Memory to reserve for what `take` does.

    Raises:
        ImageError: The image cannot be read, or is not of a kind that the model was trained on.
        OutOfMemory: The image needs more memory than the limit, or than there is.
        FitError: The state belongs to another job.
        NonFiniteOutput: The predictions are NaN or infinite.
    """
    with encoding(
        checkpoint, image, runtime, settings, purpose=purpose, passes=passes, finish_bytes=finish_bytes
    ) as job:
        if job.state is None:
            job.run(advance, _sink(checkpoint, job, keep, take))
        else:
            _run_with_state(checkpoint, job, keep, take, advance)
        return DensePass(job.grid, job.places, job.plan)


def _sink(
    checkpoint: Checkpoint[FITDense], job: EncodingPass, keep: KeptValues, take: TakeValues
) -> Callable[[slice, Tensor], None]:
    """Return the sink of the pass: from normalised tokens to what is kept in host memory."""
    outputs, taken = checkpoint.model.config.outputs, 0

    def put(part: slice, tokens: Tensor) -> None:
        # A pass that ran out of memory starts again, and gives groups that were taken already.
        nonlocal taken
        skipped = max(0, taken - part.start)
        if part.start + skipped >= part.stop:
            return
        values = by_cell(checkpoint.model.head(tokens[skipped:]), outputs)
        check_finite_groups(checkpoint, values, "predictions", job.image.path)
        taken = part.stop
        places = job.places[part][skipped:]
        take(places, keep(values, places, job.grid).cpu())

    return put


def _run_with_state(
    checkpoint: Checkpoint[FITDense],
    job: EncodingPass,
    keep: KeptValues,
    take: TakeValues,
    advance: Callable[[float], None],
) -> None:
    """Run the pass with what is kept in the folder of the state, so that a resumed one need not compute it again."""
    model = checkpoint.model.config
    example = keep(torch.zeros(1, model.tokens, model.cells**2, model.outputs), job.places[:1], job.grid)[0]
    host = torch.device("cpu")
    with job.keep("cells", (len(job.places), 1, example.numel()), example.dtype) as store:
        starts = dict(zip(job.places, range(len(job.places)), strict=True))

        def put(places: Places, values: Tensor) -> None:
            first = starts[places[0]]
            store.put(slice(first, first + len(places)), values.flatten(1)[:, None].to(host))

        job.run(advance, _sink(checkpoint, job, keep, cast(TakeValues, put)))
        for start in range(0, len(job.places), job.plan.handful):
            part = slice(start, min(start + job.plan.handful, len(job.places)))
            take(job.places[part], store.get(part).reshape(-1, *example.shape))
