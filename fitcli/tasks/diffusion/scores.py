"""Computes how well a diffusion model denoises an image at ten noise levels."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from fitcli.device.runtime import Runtime
from fitcli.device.transfer import to_device
from fitcli.errors import ImageError
from fitcli.execution.forward import group_losses
from fitcli.execution.missing import Missing
from fitcli.execution.plan import ExecutionPlan
from fitcli.images.base import ImageReader
from fitcli.images.window import Window
from fitcli.memory.estimate import FLOAT
from fitcli.memory.retry import with_less
from fitcli.noise import group_noise
from fitcli.patches.cutting import groups_of, read_marked_patches, to_unit
from fitcli.patches.grid import PatchGrid
from fitcli.patches.preprocessing import Preprocessing
from fitcli.runs.weights import Checkpoint
from fitcli.streaming.token_store import StoreKind
from fitcli.tasks.diffusion.config import DiffusionConfig, diffusion_of
from fitcli.tasks.diffusion.loss import diffusion_loss
from fitcli.tasks.diffusion.parameterization import to_data
from fitcli.tasks.diffusion.pixel_source import image_source
from fitcli.tasks.diffusion.smaller_image import enlarged_part, group_windows, read_smaller
from fitcli.tasks.diffusion.step import DiffusionStep, diffusion_job
from fitcli.tasks.scored_windows import NO_PIXELS, scored_parts
from fitcli.tasks.scoring_memory import UNLIMITED, Scoring, ScoringLimit
from models.denoiser import FITDenoiser

TIMES = tuple((number + 0.5) / 10 for number in range(10))
"""Times of the noise levels, from little noise to much: the middles of ten equal parts of time."""


PATCHES_BYTES = 4
"""Bytes per value of a window beside its pixels: marks of missing values, and copies."""


@torch.inference_mode()
def image_losses(
    checkpoint: Checkpoint[FITDenoiser],
    image: ImageReader,
    runtime: Runtime,
    number: int,
    label: int | None = None,
    whole: bool = False,
    limit: ScoringLimit = UNLIMITED,
) -> NDArray[np.float64]:
    """Return the mean squared error of the predictions over all pixels that are not missing, at each of `TIMES`: [10].

    A model with self-conditioning starts from the latents of a first prediction for the same noisy image.

    Args:
        checkpoint: A run of the task "diffusion".
        image: The open image.
        runtime: Device and precision.
        number: Number of the image. Its noise depends on this number and the time only.
        label: Class of the image; None for a model without classes.
        whole: Whether an image larger than the training images is denoised as a whole, instead of window by window.
        limit: Memory limit of the passes.

    Raises:
        OutOfMemory: The image needs more memory than the limit.
        ImageError: The image cannot be read, is not of a kind that the model was trained on, or has no pixels.
        CheckpointError: The run is of another task.
    """
    config, diffusion = checkpoint.config, diffusion_of(checkpoint.config)
    if (reason := config.preprocessing.mismatch(image.info)) is not None:
        raise ImageError(image.path, reason)
    sums, patches = np.zeros(len(TIMES)), 0.0
    size = None if whole else diffusion.size
    execution = limit.execution(checkpoint, image, size, runtime, scoring(diffusion, checkpoint.model))
    for window, part in enumerate(scored_parts(image, size)):
        grid = PatchGrid(part.info.size, diffusion.patch, checkpoint.model.config.group)
        windows = _smaller_windows(part, grid, diffusion, config.preprocessing)
        raw, marks = read_marked_patches(part, grid, list(grid.coordinates()), config.preprocessing)
        mask = groups_of(grid).mask
        missing = None if marks is None else Missing.of(marks, mask, runtime.device)
        real: float = raw.shape[0] * raw.shape[1] if mask is None else int(mask.sum())
        if missing is not None:
            real = missing.present / raw.shape[2]
        if not real:
            continue
        for index, time in enumerate(TIMES):
            stream = f"evaluation {index} of window {window}"
            loss = _loss_at(checkpoint, grid, raw, missing, runtime, time, stream, number, label, execution, windows)
            sums[index] += real * loss
        patches += real
    if not patches:
        raise ImageError(image.path, NO_PIXELS)
    return sums / patches


def scoring(diffusion: DiffusionConfig, model: FITDenoiser) -> Scoring:
    """Return what a scorer does with a window."""
    config = model.config
    return Scoring(
        group_pixels=diffusion.patch * config.group,
        value_bytes=FLOAT,
        values=config.values,
        output_values=config.out_values,
        pixel_bytes=PATCHES_BYTES,
    )


def _smaller_windows(
    image: ImageReader, grid: PatchGrid, diffusion: DiffusionConfig, preprocessing: Preprocessing
) -> Tensor | None:
    """Return the windows [g k k c] of the smaller version of an image; None for a run that does not enlarge."""
    if diffusion.enlarging is None:
        return None
    factor = diffusion.enlarging.factor
    read = image_source(image, preprocessing, diffusion.scale).read
    smaller, side = read_smaller(read, Window(0, 0, *grid.size), factor), grid.group_pixels // factor
    places = [(row * side, column * side) for row, column in grid.coordinates()]
    size = smaller.shape[0], smaller.shape[1]
    return group_windows(lambda window: smaller[window.slices()], size, places, side)


def _loss_at(
    checkpoint: Checkpoint[FITDenoiser],
    grid: PatchGrid,
    raw: Tensor,
    missing: Missing | None,
    runtime: Runtime,
    time: float,
    stream: str,
    number: int,
    label: int | None,
    execution: tuple[int, StoreKind],
    windows: Tensor | None = None,
) -> float:
    """Return the loss of one window at one time, from its patches [g n p] as read and their missing values.

    `execution` is the groups of a handful and the store for tokens; `windows` are those of the smaller version.
    """
    config, model, device = checkpoint.config, checkpoint.model, runtime.device
    diffusion = diffusion_of(config)
    scale, limits, values = diffusion.scale, config.preprocessing.range, (raw.shape[1], raw.shape[2])
    groups = groups_of(grid).map_tensors(partial(to_device, device=device))
    condition = None
    if label is not None:
        one_hot = F.one_hot(torch.tensor([label]), len(config.classes))
        condition = to_device(one_hot.to(torch.float32)[:, None], device)

    def data(part: slice) -> Tensor:
        return to_data(to_unit(to_device(raw[part], device), *limits), scale)

    given, features, seen = None, None, data
    if windows is not None and (enlarging := diffusion.enlarging) is not None:
        given = partial(enlarged_part, windows, enlarging.factor, diffusion.patch, device)
        features = torch.zeros(1, 1, device=device)

        def seen(part: slice) -> Tensor:
            return (data(part) - given(part)) / enlarging.unit

    step = DiffusionStep(
        groups=groups,
        data=seen,
        noise=lambda part: to_device(
            group_noise(0, stream, range(part.start, part.stop), values, image=number), device
        ),
        time=to_device(torch.tensor([time]), device),
        condition=condition,
        conditioned=torch.ones(1, dtype=torch.bool),
        missing=missing,
        given=given,
        features=features,
    )

    def loss(handful: int) -> float:
        plan = ExecutionPlan(kind="stream", handful=handful, store=execution[1])
        with runtime.autocast():
            losses = group_losses(diffusion_job(diffusion_loss(diffusion), model, step, plan), plan)
        runtime.check_overflow(losses)
        return float(losses.sum())

    return with_less(device, loss, min(len(raw), execution[0]))
