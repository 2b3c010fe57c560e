"""Build small models of every kind, and batches of images of different sizes for them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fitcli.patches.cutting import groups_of
from fitcli.patches.grid import PatchGrid
from models.build import build
from models.config import ClassifierConfig, DecoderConfig, DenoiserConfig, EncoderConfig
from models.groups import Groups

PATCH, SIDE = 2, 2
"""Pixels per side of a patch, and patches per side of a group: a group has 4 tokens and 4 x 4 pixels."""

VALUES = 3 * PATCH**2
VOCABULARY = 11
CONDITION = 5

TRUNK: dict[str, Any] = {
    "plan": "(1)1(1)1",
    "tokens": SIDE**2,
    "latents": 2,
    "token_width": 16,
    "latent_width": 24,
    "token_heads": 2,
    "latent_heads": 3,
    "mlp_ratio": 2,
}


def encoder_config(**changes: Any) -> EncoderConfig:
    return EncoderConfig(**TRUNK | {"patch": PATCH, "channels": 3} | changes)


def classifier_config(**changes: Any) -> ClassifierConfig:
    return ClassifierConfig(**TRUNK | {"patch": PATCH, "channels": 3, "classes": 4} | changes)


def denoiser_config(**changes: Any) -> DenoiserConfig:
    own = {"values": VALUES, "out_values": VALUES, "condition_width": CONDITION, "self_condition": True}
    return DenoiserConfig(**TRUNK | own | changes)


def decoder_config(**changes: Any) -> DecoderConfig:
    return DecoderConfig(**TRUNK | {"plan": "(1)1(1)1(1)", "causal": "tokens", "vocabulary": VOCABULARY} | changes)


CONFIGS = {
    "encoder": encoder_config(),
    "causal encoder": encoder_config(causal="groups"),
    "convolutional encoder": encoder_config(patch=4, stem="conv"),
    "encoder of overlapping convolutions": encoder_config(patch=4, stem="overlap"),
    "classifier": classifier_config(),
    "classifier of two targets": classifier_config(classes=5, targets=(3, 2), pool_heads=2),
    "denoiser": denoiser_config(cross_mlp=True),
    "denoiser of overlapping patches": denoiser_config(output_patch=PATCH),
    "decoder": decoder_config(),
    "decoder of classes": decoder_config(starts=3, classes=3),
}
"""One config of every kind, for images of any size."""


def live(config: Any, dtype: torch.dtype = torch.float64) -> Any:
    """Build a model with random parameters, because initial biases of 0 and scales of 1 would hide mistakes."""
    model: nn.Module = build(config).to(dtype)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator, dtype=dtype))
    return model.eval().requires_grad_(False)


def grid(height: int, width: int) -> PatchGrid:
    """Return the grid of an image of `height` x `width` pixels."""
    return PatchGrid((height, width), PATCH, SIDE)


def join(*parts: Groups) -> Groups:
    """Join the groups of several images into one batch."""
    return Groups.join(parts)


def whole_and_ragged() -> list[Groups]:
    """Return a batch of two equal images, and one of three: with padding, whole, and with a group left out."""
    return [
        Groups.of_grid(images=2, rows=2, columns=2),
        join(groups_of(grid(7, 5)), groups_of(grid(4, 8)), groups_of(grid(8, 8), [(0, 1), (1, 0), (1, 1)])),
    ]


def inputs_for(config: Any, groups: Groups, seed: int = 0, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Return random inputs of a model besides the groups: first those per group, then those per image."""
    generator = torch.Generator().manual_seed(seed)
    count = len(groups.number)
    if isinstance(config, DecoderConfig):
        ids = torch.randint(VOCABULARY + config.starts, (count, config.tokens), generator=generator)
        return [ids, torch.arange(1, groups.images + 1) % config.classes] if config.classes else [ids]

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=dtype)

    if isinstance(config, DenoiserConfig):
        level = torch.rand(groups.images, generator=generator, dtype=dtype)
        return [
            normal(count, config.tokens, config.values),
            normal(count, config.latents, config.latent_width),
            level,
            normal(groups.images, 2, CONDITION),
        ]
    assert isinstance(config, EncoderConfig)
    return [normal(count, config.tokens, config.values)]


def run(model: Any, groups: Groups, inputs: list[Tensor]) -> list[Tensor]:
    """Run a model and return its outputs: first those per group, then those per image."""
    if isinstance(model.config, DenoiserConfig):
        patches, previous, level, condition = inputs
        return list(model(patches, groups, level, condition, previous))
    out = model(inputs[0], groups, *inputs[1:])
    if isinstance(model.config, ClassifierConfig):
        return [out.evidence, out.logits]
    return [out] if isinstance(out, Tensor) else list(out)
