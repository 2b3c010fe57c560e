"""Compares what an enlarging run makes of smaller versions with the images themselves, and with interpolation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from fitcli.device.runtime import Runtime
from fitcli.images.base import ImageReader
from fitcli.images.window import Window
from fitcli.memory.budget import MemoryPlan
from fitcli.runs.weights import Checkpoint
from fitcli.streaming.token_store import StoreKind
from fitcli.tasks.diffusion.config import Enlarging, diffusion_of
from fitcli.tasks.diffusion.generate.generate_image import ImageGeneration
from fitcli.tasks.diffusion.generate.memory_plan import GenerationPlan
from fitcli.tasks.diffusion.generate.settings import GenerationSettings
from fitcli.tasks.diffusion.generate.sources import canvas_values, image_source
from fitcli.tasks.diffusion.generate.stages import Stage
from fitcli.tasks.diffusion.given_image import given_image
from fitcli.tasks.diffusion.smaller_image import read_smaller
from models.denoiser import FITDenoiser

SAMPLE_STEPS = 20
"""Steps of `dpm` for the image whose errors are `EnlargingErrors.sample`."""

LEAST_ERROR = 1e-10
"""Mean squared error of an image that is right to the bit: its ratio to noise would be infinite."""


class EnlargingErrors(NamedTuple):
    """Mean squared errors of an enlarged image, where black is 0 and white is 1.

    Attributes:
        bicubic: That of cubic convolution.
        mean: That of the image after one step from noise: the mean of all images that the run takes for possible.
        sample: That of one image after `SAMPLE_STEPS` steps: one of them.
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
    passes = MemoryPlan(budget_bytes=0, handful=execution[0], store=execution[1], reads_store="host")
    errors, full = [], Window(0, 0, height, width)
    for steps in (1, SAMPLE_STEPS):
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
            generation = ImageGeneration(
                checkpoint=checkpoint,
                runtime=runtime,
                settings=GenerationSettings(size=(height, width), sampler="dpm", steps=steps),
                plan=GenerationPlan(passes=passes, canvas="host"),
                stages=(Stage((height, width), diffusion.patch, checkpoint.model.config.group, 1.0, steps),),
                number=number,
                condition=condition,
                given=given,
            )
            with generation.result() as canvas:
                enlarged = given.add_window(canvas_values(canvas, diffusion.patch, full), full)
            bicubic = given.add_window(np.zeros_like(pixels), full)
        errors.append(_error(enlarged, pixels, diffusion.scale))
    return EnlargingErrors(_error(bicubic, pixels, diffusion.scale), *errors)


def _error(image: NDArray[np.float32], truth: NDArray[np.float32], scale: float) -> float:
    """Return the mean squared error of data in [-scale, scale], clipped, where the range is 1."""
    return float(np.square((image.clip(-scale, scale) - truth) / (2 * scale), dtype=np.float64).mean())
