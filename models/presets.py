"""Named sizes of the three models: plain data.

Encoders: for groups of 16 x 16 patches of 16 pixels; "nano", of 4 x 4 patches, learns small marks such as strokes of a
pen on one core. Denoisers and decoders have to predict pixels, so that their
patches are small; they end with local layers, which bring what the latents know to the pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from models.checks import ConfigError
from models.config import ClassifierConfig, DecoderConfig, DenoiserConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Preset:
    """Sizes of a trunk. `patch` in pixels, `group` in patches per side, `head` is the width of an attention head."""

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
    "tiny": Preset(plan="(2)2(2)2", latents=8, token_width=192, latent_width=256, stem="conv"),
    "small": Preset(plan="(2)3(2)3", latents=16, token_width=320, latent_width=512, stem="conv"),
    "base": Preset(plan="(2)4(2)4(2)4", latents=16, token_width=512, latent_width=768),
    "large": Preset(plan="(3)6(3)6(3)6", latents=16, token_width=768, latent_width=1024),
}


DENOISERS: dict[str, Preset] = {
    "debug": Preset(plan="(1)1(1)", latents=4, token_width=64, latent_width=64, patch=4, group=8),
    "nano": Preset(plan="(1)1(1)", latents=4, token_width=128, latent_width=128, patch=8, group=8),
    "tiny": Preset(plan="(2)2(2)2(2)", latents=8, token_width=192, latent_width=256, patch=8, group=8),
    "small": Preset(plan="(2)3(2)3(2)", latents=16, token_width=320, latent_width=512, patch=8, group=8),
    "base": Preset(plan="(2)4(2)4(2)4(2)", latents=16, token_width=512, latent_width=768, patch=8, group=8),
}
"""64 patches per group: "tiny" at 4096 x 4096 has 262,144 tokens and 32,768 latents. "nano" is for minutes on one core,
with patches of 8 pixels: four times the image of "debug" in as many tokens.
"""

DECODERS: dict[str, Preset] = {
    "debug": Preset(plan="(1)1(1)", latents=2, token_width=64, latent_width=64, patch=4, group=1),
    "nano": Preset(plan="(2)1(2)", latents=8, token_width=64, latent_width=128, patch=8, group=1, head=32),
    "tiny": Preset(plan="(2)2(2)2(2)", latents=8, token_width=192, latent_width=256, patch=8, group=1),
    "small": Preset(plan="(2)3(2)3(2)", latents=16, token_width=320, latent_width=512, patch=8, group=1),
}
"""One patch is one group and its values are the tokens: 192 in 8 x 8 pixels of red, green and blue. "nano" learns
small grey images on one core: a token of 64 values with a single head of 64 would have no second thing to look at.
"""


def classifier_preset(name: str, channels: int, classes: int, patch: int | None = None) -> ClassifierConfig:
    """The classifier of a preset.

    Raises:
        ConfigError: There is no such preset, or it cannot have patches of so many pixels per side.
    """
    preset = _find(PRESETS, name, patch)
    return ClassifierConfig.from_dict(
        _trunk(preset, preset.group**2)
        | {
            "patch": preset.patch,
            "channels": channels,
            "stem": preset.stem,
            "classes": classes,
            "pool_heads": preset.pool_heads,
            "attention_start": preset.attention_start,
        }
    )


def denoiser_preset(
    name: str, channels: int, classes: int, patch: int | None = None, self_condition: bool = True
) -> tuple[DenoiserConfig, int]:
    """The denoiser of a preset, conditioned on classes where there are any; and the side of its patches in pixels.

    Raises:
        ConfigError: There is no such preset.
    """
    preset = _find(DENOISERS, name, patch)
    values = preset.patch**2 * channels
    config = DenoiserConfig.from_dict(
        _trunk(preset, preset.group**2)
        | {
            "values": values,
            "out_values": values,
            "condition_width": classes or None,
            "self_condition": self_condition,
        }
    )
    return config, preset.patch


def decoder_preset(
    name: str, channels: int, classes: int, levels: int, starts: int, patch: int | None = None
) -> tuple[DecoderConfig, int]:
    """The decoder of a preset, conditioned on classes where there are any; and the side of its patches in pixels.

    The places in a group are no square but pixels and their channels: each has a learned code.

    Raises:
        ConfigError: There is no such preset.
    """
    preset = _find(DECODERS, name, patch)
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


def _find(presets: dict[str, Preset], name: str, patch: int | None) -> Preset:
    if name not in presets:
        raise ConfigError(f"no preset {name!r}; there are {', '.join(presets)}")
    return presets[name] if patch is None else replace(presets[name], patch=patch)


def _trunk(preset: Preset, tokens: int) -> dict[str, Any]:
    return {
        "plan": preset.plan,
        "tokens": tokens,
        "latents": preset.latents,
        "token_width": preset.token_width,
        "latent_width": preset.latent_width,
        "token_heads": preset.token_width // preset.head,
        "latent_heads": preset.latent_width // preset.head,
    }
