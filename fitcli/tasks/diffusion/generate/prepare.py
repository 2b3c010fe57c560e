"""Checks the settings of a generation against the model and an initial image, before any work is done."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fitcli.data.class_names import number_of_name
from fitcli.device.runtime import Runtime
from fitcli.errors import CheckpointError, FitError, ImageError
from fitcli.files.wording import counted
from fitcli.images.base import ImageInfo, ImageReader
from fitcli.images.crop import Crop
from fitcli.images.rescaled import scale_after
from fitcli.images.window import Window
from fitcli.patches.preprocessing import Preprocessing
from fitcli.patches.value_range import PixelRange
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.diffusion.config import Enlarging, diffusion_of
from fitcli.tasks.diffusion.generate.settings import GenerationSettings
from fitcli.tasks.diffusion.generate.sources import Inpainting
from fitcli.tasks.diffusion.generate.stages import Stage, coarse_to_fine
from fitcli.tasks.diffusion.generate_options import CHAIN_NOISE
from fitcli.tasks.diffusion.pixel_source import PixelSource, exact_source, image_source
from fitcli.tasks.diffusion.samplers import STEPS
from fitcli.tasks.image_output import output_info
from models.denoiser import FITDenoiser


@dataclass(frozen=True, kw_only=True, slots=True)
class InitialImage:
    """An image that is enlarged or partly repainted.

    Attributes:
        image: The open image.
        window: Window to repaint, in pixels; None to enlarge the image.
        exact: Whether it holds values in [0, 1] that an earlier run of a chain has generated.
    """

    image: ImageReader
    window: Window | None = None
    exact: bool = False

    def source(self, preprocessing: Preprocessing, scale: float) -> PixelSource:
        """Return its data."""
        return exact_source(self.image, scale) if self.exact else image_source(self.image, preprocessing, scale)


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """A generation that fits the model.

    Attributes:
        stages: Stages, from coarse to fine.
        info: Header of the image that is written.
        condition: Conditioning tokens [1 1 k], on the device; None for an unconditional model.
        source: Image to enlarge; None without one.
        smaller: Image to enlarge with a run that has learned it; None without one.
        noise: Noise on `smaller`, as a share of the range from black to white.
        inpainting: Known part of an image that is repainted; None to generate all of it.
        context: Window of the initial image that the network sees while it repaints a part; None without repainting.
    """

    stages: tuple[Stage, ...]
    info: ImageInfo
    condition: Tensor | None
    source: PixelSource | None = None
    smaller: PixelSource | None = None
    noise: float = 0.0
    inpainting: Inpainting | None = None
    context: Window | None = None


def prepare(
    checkpoint: Checkpoint[FITDenoiser],
    settings: GenerationSettings,
    runtime: Runtime,
    initial: InitialImage | None = None,
) -> Prepared:
    """Check settings against a model and an image.

    Args:
        checkpoint: The model and its preprocessing.
        settings: Settings of the generation.
        runtime: Device and precision.
        initial: Image to enlarge or to repaint; None to start from noise.

    Raises:
        FitError: The settings do not fit the model or the image.
    """
    if settings.sampler not in STEPS:
        raise FitError(f"--sampler {settings.sampler}: there are {', '.join(STEPS)}")
    condition = label_condition(checkpoint, settings, runtime)
    preprocessing, diffusion = checkpoint.config.preprocessing, diffusion_of(checkpoint.config)
    if initial is not None and not initial.exact and (reason := _other_kind(initial.image.info, preprocessing)):
        raise ImageError(initial.image.path, reason)
    if diffusion.enlarging is not None:
        prepared = _prepare_learned(checkpoint, settings, diffusion.enlarging, initial, condition)
    elif initial is None:
        sizes = [settings.size] if settings.one_pass else coarse_to_fine(settings.size, diffusion.size)
        prepared = Prepared(
            stages=_stages(checkpoint, settings, sizes, 1.0),
            info=output_info(settings.size, preprocessing),
            condition=condition,
        )
    elif initial.window is None:
        prepared = _prepare_enlarging(checkpoint, settings, initial.image, condition)
    else:
        prepared = _prepare_repainting(checkpoint, settings, initial.image, initial.window, condition)
    _check_positions(checkpoint, prepared.stages, settings)
    return prepared


def _other_kind(info: ImageInfo, preprocessing: Preprocessing) -> str | None:
    """Return why a run cannot write an image again in the kind of pixels that it has; None if it can.

    Models that describe an image take more: what they convert is not written.
    """
    if reason := preprocessing.mismatch(info):
        return reason
    if change := preprocessing.channel_change(info):
        return (
            f"has {counted(info.channels, 'channel')}, the run generates {preprocessing.channels} ({change}); give an "
            "image of these channels, or a run of such images"
        )
    pixels = PixelRange.of(preprocessing)
    if {info.dtype, pixels.dtype} == {np.dtype(np.uint8), np.dtype(np.uint16)}:
        return (
            f"has {info.dtype} pixels, the run generates {pixels.dtype} in {pixels.low:g} ... {pixels.high:g}; convert "
            "the image to this range, or give a run of such images"
        )
    return None


def _prepare_learned(
    checkpoint: Checkpoint[FITDenoiser],
    settings: GenerationSettings,
    enlarging: Enlarging,
    initial: InitialImage | None,
    condition: Tensor | None,
) -> Prepared:
    """Prepare to enlarge an image with a run that has learned it: in one stage, from noise."""
    factor, how = enlarging.factor, f"the run was trained with --enlarge {enlarging.factor}"
    if initial is None:
        raise CheckpointError(
            f"{how} and generates nothing by itself; give it an --image, or another --checkpoint and this run as "
            "--enlarge-with"
        )
    if initial.window is not None:
        raise CheckpointError(f"--window: {how} and repaints nothing; give a run without --enlarge")
    noise = settings.enlarge_noise
    if noise is None:
        noise = min(CHAIN_NOISE, enlarging.noise) if initial.exact else 0.0
    if noise > enlarging.noise:
        raise FitError(f"--enlarge-noise {noise}: {how} and noise up to {enlarging.noise}; give less")
    diffusion, preprocessing = diffusion_of(checkpoint.config), checkpoint.config.preprocessing
    half = checkpoint.model.config.group // 2 * diffusion.patch
    if settings.shift_grid and half % factor:
        raise FitError(f"--shift-grid: {factor} times do not divide half a group of {half} pixels; leave it out")
    source, info = initial.source(preprocessing, diffusion.scale), initial.image.info
    check_enlarged_size(initial.image.path, source.size, settings.size, factor)
    geo = info.geo and info.geo.resize(source.size, settings.size)
    mpp = scale_after(info.mpp, source.size, settings.size)
    return Prepared(
        stages=_stages(checkpoint, settings, [settings.size], 1.0),
        info=output_info(settings.size, preprocessing, mpp, geo, like=info),
        condition=condition,
        smaller=source,
        noise=noise,
    )


def check_enlarged_size(path: Path, size: tuple[int, int], target: tuple[int, int], factor: int) -> None:
    """Check that an image is enlarged to a whole number of its pixels.

    Args:
        path: The image.
        size, target: Its (height, width) before and after, in pixels.
        factor: Factor of the enlarging runs together.

    Raises:
        ImageError: The size afterwards is not `factor` times that before.
    """
    if size[0] > target[0] or size[1] > target[1]:
        raise ImageError(
            path,
            f"is {size[0]} x {size[1]} pixels (height x width), larger than the {target[0]} x {target[1]} to enlarge "
            "it to; give a larger --res",
        )
    if (size[0] * factor, size[1] * factor) != target:
        raise ImageError(
            path,
            f"is {size[0]} x {size[1]} pixels (height x width) and is enlarged {factor} times, not to "
            f"{target[0]} x {target[1]}; give --height {size[0] * factor} --width {size[1] * factor}",
        )


def _prepare_enlarging(
    checkpoint: Checkpoint[FITDenoiser], settings: GenerationSettings, image: ImageReader, condition: Tensor | None
) -> Prepared:
    preprocessing, diffusion = checkpoint.config.preprocessing, diffusion_of(checkpoint.config)
    source = image_source(image, preprocessing, diffusion.scale)
    if source.size[0] > settings.size[0] or source.size[1] > settings.size[1]:
        raise ImageError(
            image.path,
            f"is {source.size[0]} x {source.size[1]} pixels (height x width), larger than the "
            f"{settings.size[0]} x {settings.size[1]} to enlarge it to; give a larger --res",
        )
    sizes = [settings.size] if settings.one_pass else coarse_to_fine(settings.size, diffusion.size, source.size)
    geo = image.info.geo and image.info.geo.resize(source.size, settings.size)
    mpp = scale_after(image.info.mpp, source.size, settings.size)
    return Prepared(
        stages=_stages(checkpoint, settings, sizes, settings.strength),
        info=output_info(settings.size, preprocessing, mpp, geo, like=image.info),
        condition=condition,
        source=source,
    )


def _prepare_repainting(
    checkpoint: Checkpoint[FITDenoiser],
    settings: GenerationSettings,
    image: ImageReader,
    window: Window,
    condition: Tensor | None,
) -> Prepared:
    """Prepare to repaint a window. The network sees a context around it, of the trained size if the image allows it."""
    if window.area == 0 or window.clip(*image.info.size) != window:
        size = f"{image.info.height} x {image.info.width}"
        given = f"{window.top},{window.left},{window.height},{window.width}"
        raise ImageError(
            image.path, f"--window {given} does not lie on its {size} pixels (height x width); give another"
        )
    preprocessing, diffusion = checkpoint.config.preprocessing, diffusion_of(checkpoint.config)
    margin = diffusion.patch * checkpoint.model.config.group // 2
    top, height = _context_range(window.top, window.height, diffusion.size[0], margin, image.info.height)
    left, width = _context_range(window.left, window.width, diffusion.size[1], margin, image.info.width)
    context = Window(top, left, height, width)
    if context == window:
        raise ImageError(image.path, "--window covers all of it, so that nothing of it is kept; leave out --image")
    source = image_source(Crop(image, context), preprocessing, diffusion.scale)
    return Prepared(
        stages=_stages(checkpoint, settings, [(height, width)], 1.0),
        info=output_info(
            image.info.size,
            preprocessing,
            image.info.mpp,
            image.info.geo,
            preprocessing.kept_nodata(image.info),
            like=image.info,
        ),
        condition=condition,
        inpainting=Inpainting(source, window.shift(-top, -left), diffusion.patch),
        context=context,
    )


def _context_range(start: int, length: int, trained: int, margin: int, whole: int) -> tuple[int, int]:
    """Return the (start, length) of the context around a range, along one axis of an image of length `whole`."""
    context = min(max(length + 2 * margin, trained), whole)
    return min(max(start - (context - length) // 2, 0), whole - context), context


def _stages(
    checkpoint: Checkpoint[FITDenoiser], settings: GenerationSettings, sizes: list[tuple[int, int]], first_start: float
) -> tuple[Stage, ...]:
    starts = [first_start, *[settings.strength] * (len(sizes) - 1)]
    patch, group = diffusion_of(checkpoint.config).patch, checkpoint.model.config.group
    shifts = _shifts(checkpoint) if settings.shift_grid is None else settings.shift_grid
    return tuple(
        Stage(size, patch, group, start, max(1, round(settings.steps * start)), shifts and max(size) > group * patch)
        for size, start in zip(sizes, starts, strict=True)
    )


def _shifts(checkpoint: Checkpoint[FITDenoiser]) -> bool:
    """Return whether groups are shifted if nobody chooses: only those whose patches overlap.

    Where all patches leave borders, those of groups are no worse, and earlier runs keep their images. Groups have to
    lie at fractions of a group, and at whole pixels of a smaller version.
    """
    config, diffusion = checkpoint.model.config, diffusion_of(checkpoint.config)
    factor = 1 if diffusion.enlarging is None else diffusion.enlarging.factor
    fits = config.latent_positions == "coordinates" and config.group // 2 * diffusion.patch % factor == 0
    return config.output_patch is not None and config.group > 1 and fits


def label_condition(
    checkpoint: Checkpoint[FITDenoiser], settings: GenerationSettings, runtime: Runtime
) -> Tensor | None:
    """Return the conditioning token [1 1 k]: one-hot, or zeros without a label; None for a model without labels.

    Raises:
        FitError: The model does not have the label, or needs one.
    """
    classes, dropout = checkpoint.config.classes, diffusion_of(checkpoint.config).class_dropout
    if not classes:
        if settings.label is not None:
            raise FitError(f"--label {settings.label}: the model was trained without labels; leave it out")
        if settings.guidance:
            raise FitError("--guidance: the model was trained without labels, which guidance needs; leave it out")
        return None
    known = f"there are {', '.join(classes[:20])}{', ...' if len(classes) > 20 else ''}"
    number = None if settings.label is None else number_of_name(settings.label, classes)
    if settings.label is not None and number is None:
        raise FitError(f"--label {settings.label}: no such class; {known}")
    if settings.label is None and (settings.guidance or not dropout):
        why = "--guidance needs a label" if settings.guidance else "the model was never trained without a label"
        raise FitError(f"{why}: give --label NAME; {known}")
    if settings.guidance and not dropout:
        raise CheckpointError(
            "--guidance: the model was never trained without a label, which guidance needs; leave it out"
        )
    condition = torch.zeros(1, 1, len(classes), device=runtime.device)
    if number is not None:
        condition[..., number] = 1
    return condition


def _check_positions(
    checkpoint: Checkpoint[FITDenoiser], stages: tuple[Stage, ...], settings: GenerationSettings
) -> None:
    config = checkpoint.model.config
    if config.latent_positions == "coordinates":
        return
    if settings.shift_grid:
        raise CheckpointError(
            "--shift-grid: this model has a table of group positions and cannot shift them; leave it out"
        )
    most = max(stage.layout().count for stage in stages)
    if most > (config.groups or 0):
        raise CheckpointError(
            f"this model has a table of {config.groups} group positions, {most} are needed; give a smaller size"
        )
