"""What a network's output means: noise (eps), data (x) or velocity (v). Pointwise, so any part of an image will do."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from fitcli.tasks.diffusion.schedules import SMALLEST
from models.checks import ConfigError
from models.groups import Groups

PredictionKind = Literal["eps", "x", "v"]
"""What the network predicts: the noise, the data, or the velocity."""


class DenoisingEstimate(NamedTuple):
    """What a prediction says about the data and about the noise; both have the shape of the noisy patches."""

    data: Tensor
    noise: Tensor


def to_data(values: Tensor, scale: float) -> Tensor:
    """Values in [0, 1] -> [-scale, scale]. Less scale is more noise at every gamma (Chen 2023, arXiv:2301.10972)."""
    return (values * 2 - 1) * scale


def to_values(data: Tensor, scale: float) -> Tensor:
    """The inverse of `to_data`; not clipped."""
    return data / scale / 2 + 0.5


def add_noise(data: Tensor, noise: Tensor, gamma: Tensor) -> Tensor:
    """The forward process: sqrt(gamma) data + sqrt(1 - gamma) noise (DDPM, arXiv:2006.11239, equation 4).

    Args:
        data, noise: [...].
        gamma: Broadcasts to them.
    """
    return gamma.sqrt() * data + (1 - gamma).sqrt() * noise


def interpret(
    output: Tensor,
    noisy: Tensor,
    gamma: Tensor,
    prediction: PredictionKind,
    clip: tuple[float, float] | None = None,
    truncate_noise: bool = False,
) -> DenoisingEstimate:
    """Turn the output of a network into data and noise.

    eps as in DDPM (arXiv:2006.11239, equation 15); v as in Salimans & Ho 2022 (arXiv:2202.00512, appendix D).

    Args:
        output: Of the network, [...].
        noisy: What it has seen, before any normalisation, [...].
        gamma: Of `noisy`; broadcasts to it.
        prediction: What the output means.
        clip: (least, greatest) value of the data; None without limits.
        truncate_noise: Take the noise that belongs to the clipped data instead of the predicted noise.

    Raises:
        ConfigError: Another prediction.
    """
    signal, spread = gamma.sqrt(), (1 - gamma).sqrt()
    noise: Tensor | None
    match prediction:
        case "eps":
            data, noise = (noisy - spread * output) / gamma.clamp(min=SMALLEST).sqrt(), output
        case "x":
            data, noise = output, None
        case "v":
            data = signal * noisy - spread * output
            noise = None if truncate_noise else spread * noisy + signal * output
        case _:
            raise ConfigError(f"a network predicts eps, x or v, not {prediction!r}")
    if clip is not None:
        data = data.clamp(*clip)
    if truncate_noise or noise is None:
        noise = (noisy - signal * data) / (1 - gamma).clamp(min=SMALLEST).sqrt()
    return DenoisingEstimate(data, noise)


def per_group(values: Tensor, groups: Groups) -> Tensor:
    """One value per image [b] -> [g 1 1], to go with the patches [g n p] of its groups."""
    return groups.scatter(values[:, None].expand(-1, groups.longest))[:, None, None]


def normalize_images(patches: Tensor, groups: Groups) -> Tensor:
    """Divide the patches [g n p] of every image by its standard deviation (Chen 2023, arXiv:2301.10972).

    Only the input of the network is ever normalised, not what noise is added to or removed from. Padded patches do
    not count.
    """
    real = patches.new_ones(patches.shape[:2]) if groups.mask is None else groups.mask.to(patches.dtype)
    count = _image_sum(real, groups) * patches.shape[-1]
    hidden = patches if groups.mask is None else patches.masked_fill(~groups.mask[..., None], 0)
    mean = per_group(_image_sum(hidden, groups) / count, groups)
    deviation = (hidden - mean) * real[..., None]
    variance = _image_sum(deviation.square(), groups) / count
    return patches / per_group(variance.sqrt().clamp(min=SMALLEST), groups)


def _image_sum(values: Tensor, groups: Groups) -> Tensor:
    """[g ...] -> [b], summed over everything but the images."""
    return torch.sum(groups.arrange(values.flatten(1).sum(dim=1)), dim=1)
