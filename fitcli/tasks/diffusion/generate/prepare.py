"""What is asked for, checked against a model and an image to begin with, before any work is done."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fitcli.device.runtime import Runtime
from fitcli.errors import CheckpointError, FitError, ImageError
from fitcli.images.base import ImageInfo, ImageReader
from fitcli.images.crop import Crop
from fitcli.images.window import Window
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.diffusion.config import diffusion_of
from fitcli.tasks.diffusion.generate.settings import GenerationSettings
from fitcli.tasks.diffusion.generate.sources import Inpainting, PixelSource, of_image
from fitcli.tasks.diffusion.generate.stages import Stage, coarse_to_fine
from fitcli.tasks.diffusion.samplers import STEPS
from fitcli.tasks.image_output import output_info
from models.denoiser import FITDenoiser


@dataclass(frozen=True, kw_only=True, slots=True)
class InitialImage:
    """An image to begin with.

    Attributes:
        image: Open.
        window: The part that is repainted, in pixels; None to enlarge the image.
    """

    image: ImageReader
    window: Window | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """What is to be done, fit for the model.

    Attributes:
        stages: From coarse to fine.
        info: Of the image that is written.
        condition: Conditioning tokens [1 1 k], on the device; None for a model that takes none.
        given: An image to enlarge.
        known: What is kept of an image.
        context: The window of the image that is looked at while a part of it is repainted.
    """

    stages: tuple[Stage, ...]
    info: ImageInfo
    condition: Tensor | None
    given: PixelSource | None = None
    known: Inpainting | None = None
    context: Window | None = None


def prepare(
    checkpoint: Checkpoint[FITDenoiser],
    settings: GenerationSettings,
    runtime: Runtime,
    beginning: InitialImage | None = None,
) -> Prepared:
    """Check settings against a model and an image.

    Raises:
        FitError: They do not fit; says which and what to do.
    """
    if settings.sampler not in STEPS:
        raise FitError(f"--sampler {settings.sampler}: there are {', '.join(STEPS)}")
    condition = _condition(checkpoint, settings, runtime)
    preprocessing, diffusion = checkpoint.config.preprocessing, diffusion_of(checkpoint.config)
    if beginning is not None and (reason := preprocessing.mismatch(beginning.image.info)):
        raise ImageError(beginning.image.path, reason)
    if beginning is None:
        sizes = [settings.size] if settings.one_pass else coarse_to_fine(settings.size, diffusion.size)
        prepared = Prepared(
            stages=_stages(checkpoint, settings, sizes, 1.0),
            info=output_info(settings.size, preprocessing),
            condition=condition,
        )
    elif beginning.window is None:
        given = of_image(beginning.image, preprocessing, diffusion.scale)
        if given.size[0] > settings.size[0] or given.size[1] > settings.size[1]:
            raise ImageError(
                beginning.image.path,
                f"is {given.size[0]} x {given.size[1]} pixels (height x width), larger than the "
                f"{settings.size[0]} x {settings.size[1]} to be made of it; give a larger --res",
            )
        sizes = [settings.size] if settings.one_pass else coarse_to_fine(settings.size, diffusion.size, given.size)
        geo = beginning.image.info.geo and beginning.image.info.geo.resize(given.size, settings.size)
        prepared = Prepared(
            stages=_stages(checkpoint, settings, sizes, settings.strength),
            info=output_info(settings.size, preprocessing, geo=geo),
            condition=condition,
            given=given,
        )
    else:
        prepared = _repainting(checkpoint, settings, beginning.image, beginning.window, condition)
    _check_positions(checkpoint, prepared.stages, settings)
    return prepared


def _repainting(
    checkpoint: Checkpoint[FITDenoiser],
    settings: GenerationSettings,
    image: ImageReader,
    window: Window,
    condition: Tensor | None,
) -> Prepared:
    """What it takes to repaint a window. The network looks at as much around it as it was trained to see."""
    if window.area == 0 or window.clip(*image.info.size) != window:
        size = f"{image.info.height} x {image.info.width}"
        given = f"{window.top},{window.left},{window.height},{window.width}"
        raise ImageError(image.path, f"--window {given} does not lie on its {size} pixels (height x width)")
    preprocessing, diffusion = checkpoint.config.preprocessing, diffusion_of(checkpoint.config)
    margin = diffusion.patch * checkpoint.model.config.group // 2
    top, height = _around(window.top, window.height, diffusion.size[0], margin, image.info.height)
    left, width = _around(window.left, window.width, diffusion.size[1], margin, image.info.width)
    context = Window(top, left, height, width)
    if context == window:
        raise ImageError(image.path, "--window covers all of it: nothing is left to go by; leave out --image")
    source = of_image(Crop(image, context), preprocessing, diffusion.scale)
    return Prepared(
        stages=_stages(checkpoint, settings, [(height, width)], 1.0),
        info=output_info(image.info.size, preprocessing, image.info.mpp, image.info.geo),
        condition=condition,
        known=Inpainting(source, window.shift(-top, -left), diffusion.patch),
        context=context,
    )


def _around(start: int, length: int, trained: int, margin: int, whole: int) -> tuple[int, int]:
    """(start, length) of what is looked at around a range, within the image."""
    wanted = min(max(length + 2 * margin, trained), whole)
    return min(max(start - (wanted - length) // 2, 0), whole - wanted), wanted


def _stages(
    checkpoint: Checkpoint[FITDenoiser], settings: GenerationSettings, sizes: list[tuple[int, int]], first_start: float
) -> tuple[Stage, ...]:
    starts = [first_start, *[settings.strength] * (len(sizes) - 1)]
    patch, group = diffusion_of(checkpoint.config).patch, checkpoint.model.config.group
    return tuple(
        Stage(size, patch, group, start, max(1, round(settings.steps * start)))
        for size, start in zip(sizes, starts, strict=True)
    )


def _condition(checkpoint: Checkpoint[FITDenoiser], settings: GenerationSettings, runtime: Runtime) -> Tensor | None:
    """One-hot, or zeros for no label: [1 1 k]."""
    classes, dropout = checkpoint.config.classes, diffusion_of(checkpoint.config).class_dropout
    if not classes:
        if settings.label is not None:
            raise FitError(f"--label {settings.label}: the model was trained without labels; leave it out")
        if settings.guidance:
            raise FitError("--guidance: the model was trained without labels, there is nothing to guide towards")
        return None
    known = f"there are {', '.join(classes[:20])}{', ...' if len(classes) > 20 else ''}"
    if settings.label is not None and settings.label not in classes:
        raise FitError(f"--label {settings.label}: no such class; {known}")
    if settings.label is None and (settings.guidance or not dropout):
        why = "--guidance needs a label" if settings.guidance else "the model has always been told a label"
        raise FitError(f"{why}: give --label NAME; {known}")
    if settings.guidance and not dropout:
        raise CheckpointError("--guidance: the model has never been without a label; leave it out")
    condition = torch.zeros(1, 1, len(classes), device=runtime.device)
    if settings.label is not None:
        condition[..., classes.index(settings.label)] = 1
    return condition


def _check_positions(
    checkpoint: Checkpoint[FITDenoiser], stages: tuple[Stage, ...], settings: GenerationSettings
) -> None:
    config = checkpoint.model.config
    if config.latent_positions == "coordinates":
        return
    if settings.shift_grid:
        raise CheckpointError("--shift-grid: this model knows fixed places of groups alone; leave it out")
    most = max(stage.layout().count for stage in stages)
    if most > (config.groups or 0):
        raise CheckpointError(
            f"this model knows {config.groups} places of groups, {most} are needed; give a smaller size"
        )
