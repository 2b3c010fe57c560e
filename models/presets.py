"""Named sizes of the encoder: plain data.

For groups of 16 x 16 patches of 16 pixels; head width 64.
"""

from __future__ import annotations

from dataclasses import dataclass

from models.config import ClassifierConfig, ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class Preset:
    """Sizes of a trunk; heads are 64 wide. `patch` in pixels, `group` in patches per side."""

    plan: str
    latents: int
    token_width: int
    latent_width: int
    patch: int = 16
    group: int = 16
    stem: str = "linear"


PRESETS: dict[str, Preset] = {
    "debug": Preset(plan="(1)1(1)1", latents=2, token_width=64, latent_width=64, group=8, stem="conv"),
    "tiny": Preset(plan="(2)2(2)2", latents=8, token_width=192, latent_width=256, stem="conv"),
    "small": Preset(plan="(2)3(2)3", latents=16, token_width=320, latent_width=512, stem="conv"),
    "base": Preset(plan="(2)4(2)4(2)4", latents=16, token_width=512, latent_width=768),
    "large": Preset(plan="(3)6(3)6(3)6", latents=16, token_width=768, latent_width=1024),
}


def classifier_preset(name: str, channels: int, classes: int) -> ClassifierConfig:
    """The classifier of a preset.

    Raises:
        ConfigError: There is no such preset.
    """
    if name not in PRESETS:
        raise ConfigError(f"no preset {name!r}; there are {', '.join(PRESETS)}")
    preset = PRESETS[name]
    return ClassifierConfig.from_dict(
        {
            "plan": preset.plan,
            "tokens": preset.group**2,
            "latents": preset.latents,
            "token_width": preset.token_width,
            "latent_width": preset.latent_width,
            "token_heads": preset.token_width // 64,
            "latent_heads": preset.latent_width // 64,
            "patch": preset.patch,
            "channels": channels,
            "stem": preset.stem,
            "classes": classes,
        }
    )
