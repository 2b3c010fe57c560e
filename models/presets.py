"""Define named sizes of the classifier, the denoiser and the decoder.

Denoisers and decoders predict pixels. Their patches are small, and they end with local layers, which bring the content
of the latents to the pixels.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any

from models.checks import ConfigError, check_one_of, check_positive, check_type
from models.config import ATTENTION, ClassifierConfig, DecoderConfig, DenoiserConfig, DenseConfig
from models.layer_plan import parse_plan


@dataclass(frozen=True, kw_only=True, slots=True)
class Preset:
    """Sizes of a model.

    Attributes:
        plan: Layer plan.
        latents: Latents per group.
        token_width: Width of a token.
        latent_width: Width of a latent.
        patch: Pixels per side of a patch.
        group: Patches per side of a group.
        stem: Stem of a classifier.
        head: Width of an attention head.
        pool_heads: Pooling heads of a classifier.
        attention_start: Size of the initial attention weights.
        output_head: Output head: of a denoiser "linear" (as in the reference) or "overlap", see `output_head.py`; of a
            classifier "attention" or one that is added, see `heads.py`. None for the first.

    Raises:
        ConfigError: A value has another type.
    """

    plan: str
    latents: int
    token_width: int
    latent_width: int
    patch: int = 16
    group: int = 16
    stem: str = "linear"
    head: int = 64
    pool_heads: int = 1
    attention_start: str = "reference"
    output_head: str | None = None

    def __post_init__(self) -> None:
        for each in fields(self):
            check_type(each.name, getattr(self, each.name), str(each.type))


PRESETS: dict[str, Preset] = {
    "debug": Preset(plan="(1)1(1)1", latents=2, token_width=64, latent_width=64, group=8, stem="conv"),
    "nano": Preset(
        plan="(1)1(1)1",
        latents=2,
        token_width=64,
        latent_width=64,
        group=4,
        stem="overlap",
        head=32,
        pool_heads=4,
        attention_start="unit",
    ),
    "mini": Preset(
        plan="(1)2(1)2",
        latents=4,
        token_width=128,
        latent_width=128,
        group=8,
        stem="overlap",
        head=32,
        attention_start="unit",
    ),
    "tiny": Preset(plan="(2)2(2)2", latents=8, token_width=192, latent_width=256, stem="conv", attention_start="unit"),
    "small": Preset(
        plan="(2)3(2)3", latents=16, token_width=320, latent_width=512, stem="conv", attention_start="unit"
    ),
    "base": Preset(plan="(2)4(2)4(2)4", latents=16, token_width=512, latent_width=768),
    "large": Preset(plan="(3)6(3)6(3)6", latents=16, token_width=768, latent_width=1024),
}
"""Classifiers. A patch has 16 x 16 pixels. A group has 16 x 16 patches, but 8 x 8 in "debug" and "mini", and 4 x 4 in
"nano". Patches of one pixel, as of images of features, have a linear stem. "nano" learns small marks such as pen
strokes on one core, "mini" the class of every place of small images.
"""

NO_CHANGES: Mapping[str, Any] = MappingProxyType({})
"""A preset as it is."""

CELL = 2
"""Pixels per side of a cell of a model with an answer at every place, if nobody chooses."""

DENOISERS: dict[str, Preset] = {
    "debug": Preset(
        plan="(1)1(1)1(1)",
        latents=4,
        token_width=64,
        latent_width=64,
        patch=4,
        group=8,
        output_head="overlap",
        attention_start="unit",
    ),
    "nano": Preset(
        plan="(1)1(1)",
        latents=4,
        token_width=128,
        latent_width=128,
        patch=8,
        group=8,
        output_head="overlap",
        attention_start="unit",
    ),
    "tiny": Preset(plan="(2)2(2)2(2)", latents=8, token_width=192, latent_width=256, patch=8, group=8),
    "small": Preset(plan="(2)3(2)3(2)", latents=16, token_width=320, latent_width=512, patch=8, group=8),
    "base": Preset(plan="(2)4(2)4(2)4(2)", latents=16, token_width=512, latent_width=768, patch=8, group=8),
}
"""Denoisers. Groups have 64 patches: an image of 4096 x 4096 pixels has 262,144 tokens and 32,768 latents in "tiny".
"nano" trains in minutes on one core; its patches of 8 pixels cover four times the area of those of "debug". Patches
overlap in the output of both, which have too few local layers for neighbours to agree.
"""

DECODERS: dict[str, Preset] = {
    "debug": Preset(plan="(1)1(1)", latents=2, token_width=64, latent_width=64, patch=4, group=1),
    "nano": Preset(plan="(2)1(2)", latents=8, token_width=64, latent_width=128, patch=8, group=1, head=32),
    "tiny": Preset(plan="(2)2(2)2(2)", latents=8, token_width=192, latent_width=256, patch=8, group=1),
    "small": Preset(plan="(2)3(2)3(2)", latents=16, token_width=320, latent_width=512, patch=8, group=1),
}
"""Decoders. A patch is a group and its values are the tokens: 192 for 8 x 8 pixels of red, green and blue. "nano"
learns small grey images on one core; its heads are 32 wide, so that a token of width 64 has two of them.
"""


def classifier_preset(
    name: str, channels: int, classes: int, changes: Mapping[str, Any] = NO_CHANGES
) -> ClassifierConfig:
    """Return the config of a classifier.

    Args:
        name: Name in `PRESETS`.
        channels: Values per pixel.
        classes: Number of classes.
        changes: Values of fields of `Preset` that replace those of the preset.

    Raises:
        ConfigError: There is no such preset, or its stem cannot process patches of this size.
    """
    preset = _find(PRESETS, name, changes)
    return ClassifierConfig.from_dict(
        _trunk(preset, preset.group**2)
        | {
            "patch": preset.patch,
            "channels": channels,
            "stem": preset.stem,
            "classes": classes,
            "pool_heads": preset.pool_heads,
            "output_head": preset.output_head or ATTENTION,
        }
    )


def dense_preset(
    name: str, channels: int, outputs: int, cell: int = CELL, changes: Mapping[str, Any] = NO_CHANGES
) -> DenseConfig:
    """Return the config of a model with an answer at every place: a classifier of the same name with a tail.

    The tail is the last `write` and as many local layers as the other segments have. So the weights of the other
    segments have the same names and shapes as those of the classifier. A plan that ends with local layers has its tail.

    Args:
        name: Name in `PRESETS`.
        channels: Values per pixel.
        outputs: Values per cell.
        cell: Pixels per side of a cell.
        changes: Values of fields of `Preset` that replace those of the preset.

    Raises:
        ConfigError: There is no such preset, its stem cannot process patches of this size, or no whole number of cells
            fits a patch.
    """
    preset = _find(PRESETS, name, changes, without=("output_head",))
    if preset.patch % cell:
        raise ConfigError(f"cells of {cell} pixels do not fill a patch of {preset.patch} pixels")
    segments = parse_plan(preset.plan)
    tail = f"({segments[-1][0]})" if segments[-1][1] else ""
    return DenseConfig.from_dict(
        _trunk(replace(preset, plan=preset.plan + tail), preset.group**2)
        | {
            "patch": preset.patch,
            "channels": channels,
            "stem": preset.stem,
            "outputs": outputs,
            "cells": preset.patch // cell,
        }
    )


def denoiser_preset(
    name: str, channels: int, classes: int, changes: Mapping[str, Any] = NO_CHANGES, self_condition: bool = True
) -> tuple[DenoiserConfig, int]:
    """Return the config of a denoiser, and the pixels per side of its patches.

    Args:
        name: Name in `DENOISERS`.
        channels: Values per pixel.
        classes: Number of classes to condition on; 0 for none.
        changes: Values of fields of `Preset` that replace those of the preset.
        self_condition: Whether the model starts from the latents of an earlier prediction.

    Raises:
        ConfigError: There is no such preset.
    """
    preset = _predicting(_find(DENOISERS, name, changes, without=("stem",)))
    output_head = preset.output_head or "linear"
    check_one_of("output_head", output_head, ("linear", "overlap"))
    values = preset.patch**2 * channels
    config = DenoiserConfig.from_dict(
        _trunk(preset, preset.group**2)
        | {
            "values": values,
            "out_values": values,
            "condition_width": classes or None,
            "self_condition": self_condition,
            "output_patch": preset.patch if output_head == "overlap" else None,
        }
    )
    return config, preset.patch


def decoder_preset(
    name: str, channels: int, classes: int, levels: int, starts: int, changes: Mapping[str, Any] = NO_CHANGES
) -> tuple[DecoderConfig, int]:
    """Return the config of a decoder, and the pixels per side of its patches.

    The tokens of a group are the channels of its pixels, which form no square, so their position codes are learned.

    Args:
        name: Name in `DECODERS`.
        channels: Values per pixel.
        classes: Number of classes to condition on; 0 for none.
        levels: Number of levels of a pixel value: the vocabulary.
        starts: Number of start ids, see `DecoderConfig`.
        changes: Values of fields of `Preset` that replace those of the preset.

    Raises:
        ConfigError: There is no such preset.
    """
    preset = _predicting(_find(DECODERS, name, changes, without=("stem", "group", "output_head")))
    config = DecoderConfig.from_dict(
        _trunk(preset, preset.patch**2 * channels)
        | {
            "vocabulary": levels,
            "classes": classes,
            "starts": starts,
            "causal": "tokens",
            "token_positions": "learned",
        }
    )
    return config, preset.patch


def _find(presets: dict[str, Preset], name: str, changes: Mapping[str, Any], without: Collection[str] = ()) -> Preset:
    """Return a preset with changes; `without` names the fields that models of this kind do not have."""
    if name not in presets:
        raise ConfigError(f"no preset {name!r}; there are {', '.join(presets)}")
    if foreign := sorted(set(changes) & set(without)):
        raise ConfigError(f"this kind of model has no {foreign[0].replace('_', ' ')} to choose; leave it out")
    preset = replace(presets[name], **changes)
    if preset.patch > 1:
        return preset
    # There is nothing to convolve in a patch of one pixel, and no margin to overlap by.
    fitting: dict[str, Any] = {"stem": "linear", "output_head": None}
    return replace(preset, **{name: value for name, value in fitting.items() if name not in changes})


def _predicting(preset: Preset) -> Preset:
    """Return a preset if its tokens read the latents before they are predicted."""
    segments = parse_plan(preset.plan)
    if segments[-1][1] or len(segments) == 1:
        raise ConfigError(
            f"pixels are predicted from tokens that have read the latents: plan {preset.plan!r} must end with local "
            "layers after global ones, as in '(2)4(2)'"
        )
    return preset


def _trunk(preset: Preset, tokens: int) -> dict[str, Any]:
    for name in ("patch", "group", "head"):
        check_positive(name, getattr(preset, name))
    for name in ("token_width", "latent_width"):
        if getattr(preset, name) % preset.head:
            raise ConfigError(f"{name} {getattr(preset, name)} is no multiple of a head ({preset.head})")
    return {
        "plan": preset.plan,
        "tokens": tokens,
        "latents": preset.latents,
        "token_width": preset.token_width,
        "latent_width": preset.latent_width,
        "token_heads": preset.token_width // preset.head,
        "latent_heads": preset.latent_width // preset.head,
        "attention_start": preset.attention_start,
    }
