"""Converts between data, noise and the output of the network: noise (eps), data (x) or velocity (v).

Except for `normalize_images`, the functions are pointwise, so they take any part of an image.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from fitcli.tasks.diffusion.schedules import SMALLEST
from models.checks import ConfigError
from models.groups import Groups

PredictionKind = Literal["eps", "x", "v"]
"""The output of the network: the noise, the data or the velocity."""


class DenoisingEstimate(NamedTuple):
    """The data and the noise that follow from a prediction, with the shape of the noisy patches."""

    data: Tensor
    noise: Tensor


def to_data(values: Tensor, scale: float) -> Tensor:
    """Map values in [0, 1] to [-scale, scale]. A smaller scale is noisier at every gamma (arXiv:2301.10972)."""
    return (values * 2 - 1) * scale


def to_values(data: Tensor, scale: float) -> Tensor:
    """Invert `to_data`, without clipping."""
    return data / scale / 2 + 0.5


def add_noise(data: Tensor, noise: Tensor, gamma: Tensor) -> Tensor:
    """Return sqrt(gamma) data + sqrt(1 - gamma) noise, the forward process (DDPM, arXiv:2006.11239, equation 4).

    Args:
        data, noise: Values [...].
        gamma: Gamma, broadcastable to them.
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
    """Turn the output of the network into data and noise.

    eps follows DDPM (arXiv:2006.11239, equation 15), v Salimans & Ho 2022 (arXiv:2202.00512, appendix D).

    Args:
        output: Output of the network, [...].
        noisy: Input of the network before any normalisation, [...].
        gamma: Gamma of `noisy`, broadcastable to it.
        prediction: Meaning of the output.
        clip: (least, greatest) value of the data; None for no clipping.
        truncate_noise: Whether to return the noise that belongs to the clipped data, instead of the predicted noise.

    Raises:
        ConfigError: The prediction is unknown.
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
        noise = implied_noise(noisy, data, gamma)
    return DenoisingEstimate(data, noise)


def implied_noise(noisy: Tensor, data: Tensor, gamma: Tensor) -> Tensor:
    """Return the noise that is in noisy values beside the data, the inverse of `add_noise`."""
    return (noisy - gamma.sqrt() * data) / (1 - gamma).clamp(min=SMALLEST).sqrt()


def per_group(values: Tensor, groups: Groups) -> Tensor:
    """Return one value per image [b] as [g 1 1], which broadcasts to the patches [g n p] of its groups."""
    return groups.scatter(values[:, None].expand(-1, groups.longest))[:, None, None]


def normalize_images(patches: Tensor, groups: Groups) -> Tensor:
    """Divide the patches [g n p] of every image by its standard deviation (Chen 2023, arXiv:2301.10972).

    Only the input of the network is normalised, never the patches that noise is added to or removed from. Padding does
    not count.
    """
    real = patches.new_ones(patches.shape[:2]) if groups.mask is None else groups.mask.to(patches)
    count = _image_sum(real, groups) * patches.shape[-1]
    hidden = patches if groups.mask is None else patches.masked_fill(real[..., None] == 0, 0)
    mean = per_group(_image_sum(hidden, groups) / count, groups)
    deviation = (hidden - mean) * real[..., None]
    variance = _image_sum(deviation.square(), groups) / count
    return patches / per_group(variance.sqrt().clamp(min=SMALLEST), groups)


def _image_sum(values: Tensor, groups: Groups) -> Tensor:
    """Sum values [g ...] over each image, [b]."""
    return torch.sum(groups.arrange(values.flatten(1).sum(dim=1)), dim=1)
