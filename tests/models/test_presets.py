"""The table of presets in the README says what the presets are, and the arithmetic says what the models do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from models.build import build
from models.config import EncoderConfig
from models.cost import encoder_flops
from models.groups import Groups
from models.presets import PRESETS, classifier_preset

PATCHES_6400 = 400  # per side
README = Path(__file__).parents[2] / "README.md"
ROUNDED_MILLIONS = {"debug": 0.3, "nano": 0.3, "tiny": 6, "small": 25, "base": 100, "large": 300}


def parameters(name: str) -> int:
    return sum(p.numel() for p in build(classifier_preset(name, channels=3, classes=2), "meta").parameters())


def row(name: str) -> list[str]:
    """What the README must say; the last two are the FLOPs of a 6400x6400 image and the share of the quadratic part."""
    preset, flops = (
        PRESETS[name],
        encoder_flops(classifier_preset(name, 3, 2), (PATCHES_6400 // PRESETS[name].group) ** 2),
    )
    widths = f"{preset.token_width} / {preset.latent_width}"
    millions, tera = f"{parameters(name) / 1e6:.1f} M", f"{flops.total / 1e12:.2f} T"
    return [f"`{name}`", f"`{preset.plan}`", str(preset.latents), widths, preset.stem, millions, tera,
            f"{flops.quadratic_fraction:.0%}"]  # fmt: skip


@pytest.mark.parametrize("name", PRESETS)
def test_the_table_in_the_readme_is_true(name: str) -> None:
    lines = [
        re.split(r"\s*\|\s*", line.strip("| \n")) for line in README.read_text().splitlines() if f"| `{name}`" in line
    ]
    assert row(name) in lines


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_of_the_size_that_they_promise(name: str) -> None:
    assert parameters(name) / 1e6 == pytest.approx(ROUNDED_MILLIONS[name], rel=0.15)
    # The small groups of "nano" are many: it is for images of 1,500 pixels per side.
    side = 94 if name == "nano" else PATCHES_6400
    assert encoder_flops(classifier_preset(name, 3, 2), (side // PRESETS[name].group) ** 2).quadratic_fraction < 1 / 3
    config = classifier_preset(name, 3, 2)
    assert config.token_width // config.token_heads == config.latent_width // config.latent_heads == PRESETS[name].head
    assert PRESETS[name].head == (32 if name == "nano" else 64)


@pytest.mark.parametrize(
    "changes",
    [{}, {"stem": "conv"}, {"plan": "(1)2(3)"}, {"cross_mlp": True, "mlp_ratio": 2}, {"local_attention": False}],
    ids=str,
)
def test_the_arithmetic_counts_what_the_model_does(changes: dict[str, object]) -> None:
    settings: dict[str, object] = {
        "plan": "(2)3(1)2", "tokens": 16, "latents": 4, "token_width": 48, "latent_width": 64, "token_heads": 3,
        "latent_heads": 4, "patch": 8, "channels": 3,
    }  # fmt: skip
    config = EncoderConfig.from_dict(settings | changes)
    model, groups = build(config), Groups.of_grid(1, 2, 3)
    # The counter knows the matrix products of the plain kernel, not the fused one of the CPU.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.randn(6, 16, config.values), groups)
    assert encoder_flops(config, groups=6).total == counter.get_total_flops()
