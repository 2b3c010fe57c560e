"""Compares what an enlarging run makes of smaller versions with the images themselves, and with interpolation."""

from __future__ import annotations

from contextlib import ExitStack
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from fitcli.device.runtime import Runtime
from fitcli.images.base import ImageReader
from fitcli.images.window import Window
from fitcli.noise import group_noise
from fitcli.patches.cutting import to_pixels
from fitcli.patches.grid import PatchGrid
from fitcli.runs.weights import Checkpoint
from fitcli.streaming.sweeps import Streaming
from fitcli.streaming.token_store import StoreKind
from fitcli.tasks.diffusion.canvas import Canvas, CanvasLayout, open_canvas
from fitcli.tasks.diffusion.config import Enlarging, diffusion_of, image_values
from fitcli.tasks.diffusion.given_image import GivenImage, given_image
from fitcli.tasks.diffusion.pixel_source import image_source
from fitcli.tasks.diffusion.samplers import find_step
from fitcli.tasks.diffusion.sampling import Quantity, Sampling, sample
from fitcli.tasks.diffusion.schedules import parse_schedule, shifted
from fitcli.tasks.diffusion.smaller_image import read_smaller
from fitcli.tasks.diffusion.streamed_view import StreamedView
from models.denoiser import FITDenoiser

SAMPLE_STEPS = 20
"""Steps of `dpm` for the image whose errors are `EnlargingErrors.sample`."""

LEAST_ERROR = 1e-10
"""Mean squared error of an image that is right to the bit: its ratio to noise would be infinite."""


class EnlargingErrors(NamedTuple):
    """Mean squared errors of an enlarged image, where black is 0 and white is 1.

    Attributes:
        bicubic: Error of cubic convolution.
        mean: Error of the image after one step from noise: the mean of all images that the run takes for possible.
        sample: Error of one image after `SAMPLE_STEPS` steps: one of them.
    """

    bicubic: float
    mean: float
    sample: float


def psnr(error: float) -> float:
    """Return the peak signal-to-noise ratio of a mean squared error, in decibels."""
    return float(-10 * np.log10(max(error, LEAST_ERROR)))


def enlarging_errors(
    checkpoint: Checkpoint[FITDenoiser],
    enlarging: Enlarging,
    image: ImageReader,
    runtime: Runtime,
    number: int,
    label: int | None,
    execution: tuple[int, StoreKind],
) -> EnlargingErrors | None:
    """Shrink the middle of an image, enlarge it again, and compare; None for an image too small to shrink.

    Args:
        checkpoint: The run.
        enlarging: How it enlarges.
        image: The open image.
        runtime: Device and precision.
        number: Number of the image, which addresses its noise.
        label: Class of the image; None for a model without classes.
        execution: Groups of a handful and the store for tokens.
    """
    config, diffusion = checkpoint.config, diffusion_of(checkpoint.config)
    factor, whole = enlarging.factor, image.info.size
    height, width = (min(a, b) // factor * factor for a, b in zip(diffusion.size, whole, strict=True))
    if not height or not width:
        return None
    window = Window((whole[0] - height) // 2, (whole[1] - width) // 2, height, width)
    source = image_source(image, config.preprocessing, diffusion.scale)
    pixels, smaller = source.read(window), read_smaller(source.read, window, factor)
    condition = None
    if label is not None:
        condition = F.one_hot(torch.tensor([[label]]), len(config.classes)).float().to(runtime.device)
    grid = PatchGrid((height, width), diffusion.patch, checkpoint.model.config.group)
    bicubic, errors = np.zeros_like(pixels), []
    with given_image(
        lambda part: smaller[part.slices()],
        (height // factor, width // factor),
        config.preprocessing.channels,
        enlarging,
        diffusion.patch,
        diffusion.scale,
        noise=0.0,
        seed=0,
        number=number,
        store="host",
    ) as given:
        errors.append(_error(given.add_window(bicubic, Window(0, 0, height, width)), pixels, diffusion.scale))
        for steps in (1, SAMPLE_STEPS):
            enlarged = _enlarged(checkpoint, given, grid, runtime, steps, number, condition, execution)
            errors.append(_error(enlarged, pixels, diffusion.scale))
    return EnlargingErrors(*errors)


def _enlarged(
    checkpoint: Checkpoint[FITDenoiser],
    given: GivenImage,
    grid: PatchGrid,
    runtime: Runtime,
    steps: int,
    number: int,
    condition: Tensor | None,
    execution: tuple[int, StoreKind],
) -> NDArray[np.float32]:
    """Return the data [height width channels] of an image that is sampled in so many steps."""
    model, diffusion = checkpoint.model, diffusion_of(checkpoint.config)
    values = image_values(model.config)
    layout = CanvasLayout(grid.rows * grid.group, grid.columns * grid.group, grid.group)
    every = slice(0, layout.count)
    canvases: dict[Quantity, Canvas] = {}
    with ExitStack() as stack:
        for name in ("x", "data"):
            canvas = open_canvas("host", layout.rows, layout.columns, values, runtime.device)
            stack.callback(canvas.close)
            canvases[name] = canvas
        noise = group_noise(0, "enlarged image", range(layout.count), (model.config.tokens, values), number)
        layout.write(canvases["x"], every, noise)
        how = Streaming(handful=execution[0], store=execution[1])
        view = StreamedView(model, layout, how, canvases, canvases, given)
        sampling = Sampling(
            steps=steps,
            schedule=shifted(parse_schedule(diffusion.schedule), diffusion.shift),
            sampler=find_step("dpm"),
            prediction=diffusion.prediction,
            clip=diffusion.limits,
        )
        with runtime.autocast():
            for _ in sample(lambda k: view, sampling, torch.zeros(1, device=runtime.device), condition):
                pass
        difference = layout.read(canvases["x"], every)
    pixels: NDArray[np.float32] = to_pixels(given.add(difference, layout, every), grid)
    return pixels


def _error(image: NDArray[np.float32], truth: NDArray[np.float32], scale: float) -> float:
    """Return the mean squared error of data in [-scale, scale], clipped, where the range is 1."""
    return float(np.square((image.clip(-scale, scale) - truth) / (2 * scale), dtype=np.float64).mean())
