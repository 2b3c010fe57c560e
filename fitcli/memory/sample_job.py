"""A training step of any model on nothing in particular: what is simulated and what is measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fitcli.execution.job import Job
from fitcli.patches.cutting import normalize
from fitcli.tasks.autoregressive.step import decoding_job
from fitcli.tasks.classify.step import classification_job
from fitcli.tasks.diffusion.step import denoising_job, mean_square
from models.config import ClassifierConfig, DecoderConfig, DenoiserConfig
from models.decoder import FITDecoder
from models.denoiser import FITDenoiser
from models.encoder import FITClassifier
from models.groups import Groups

StepConfig = ClassifierConfig | DenoiserConfig | DecoderConfig
"""Of a model that can be trained."""


def sample_job(model: nn.Module, groups: Groups, read: Callable[[slice], Tensor]) -> Job:
    """The step of a model.

    Args:
        model: Of the step.
        groups: All groups of the batch, on its device.
        read: Gives what waits of a slice of the groups, there: see `waiting_shape`.
    """
    config, device = cast(StepConfig, model.config), groups.number.device

    def pixels(part: slice) -> Tensor:
        return as_pixels(read(part))

    if isinstance(config, ClassifierConfig):
        labels = torch.zeros(groups.images, dtype=torch.long, device=device)
        return classification_job(
            cast(FITClassifier, model), groups, pixels, lambda logits: F.cross_entropy(logits.float(), labels)
        )
    if isinstance(config, DenoiserConfig):
        level, width = torch.full((groups.images,), 0.5, device=device), config.condition_width
        condition = None if width is None else torch.zeros(groups.images, 1, width, device=device)
        target = mean_square(groups, pixels)
        return denoising_job(cast(FITDenoiser, model), groups, pixels, level, target, condition)
    labels_of_images = torch.zeros(groups.images, dtype=torch.long, device=device) if config.classes else None
    return decoding_job(cast(FITDecoder, model), groups, read, read, labels_of_images)


def waiting_shape(config: StepConfig) -> tuple[tuple[int, ...], torch.dtype]:
    """What waits of a group before a step: patches in bytes [n p], or levels [n] of a decoder."""
    if isinstance(config, DecoderConfig):
        return (config.tokens,), torch.long
    return (config.tokens, config.values), torch.uint8


def as_pixels(patches: Tensor) -> Tensor:
    """Bytes [... p] as normalised floats."""
    mean, std = (torch.full((1,), value, device=patches.device) for value in (128.0, 64.0))
    return normalize(patches, mean, std)
