"""Test the sizes of the presets, and that the table in the README has them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fitcli.profiling.inference import Inference, estimate_pass
from fitcli.tasks.registry import find_task
from models.build import build
from models.checks import ConfigError
from models.config import ClassifierConfig, TrunkConfig
from models.layer_plan import parse_plan
from models.presets import (
    DECODERS,
    DENOISERS,
    PRESETS,
    classifier_preset,
    decoder_preset,
    denoiser_preset,
    dense_preset,
)

PATCHES_6400 = 400
"""Patches per side of an image of 6400 x 6400 pixels."""

README = Path(__file__).parents[2] / "README.md"
ROUNDED_MILLIONS = {"debug": 0.3, "nano": 0.3, "mini": 1.6, "tiny": 6, "small": 25, "base": 100, "large": 300}
MILLIONS = {
    "denoiser": {"debug": 0.41, "nano": 1.07, "tiny": 7.7, "small": 33.1, "base": 131},
    "decoder": {"debug": 0.22, "nano": 0.55, "tiny": 7.1, "small": 30.7},
}
"""Millions of parameters for red, green and blue and ten classes, as in the README."""


def million_parameters(config: object) -> float:
    return sum(p.numel() for p in build(config, "meta").parameters()) / 1e6  # type: ignore[call-overload]


def operations(config: ClassifierConfig, groups: int) -> tuple[int, float]:
    """Return the operations of a forward pass, and the fraction that the attention of the global layers takes."""
    counts = estimate_pass(
        Inference(task=find_task("classify").passes, config=config, groups=groups, budget_bytes=1 << 40), None
    ).flops
    return sum(counts.values()), counts["global, attention"] / sum(counts.values())


def row(name: str) -> list[str]:
    """Return the row of the README; it ends with the FLOPs of a 6400x6400 image and their quadratic part."""
    preset, config = PRESETS[name], classifier_preset(name, channels=3, classes=2)
    total, quadratic = operations(config, (PATCHES_6400 // preset.group) ** 2)
    widths = f"{preset.token_width} / {preset.latent_width}"
    millions, tera = f"{million_parameters(config):.1f} M", f"{total / 1e12:.2f} T"
    return [f"`{name}`", f"`{preset.plan}`", str(preset.latents), widths, preset.stem, millions, tera,
            f"{quadratic:.0%}"]  # fmt: skip


@pytest.mark.parametrize("name", PRESETS)
def test_the_table_in_the_readme_is_true(name: str) -> None:
    lines = [
        re.split(r"\s*\|\s*", line.strip("| \n")) for line in README.read_text().splitlines() if f"| `{name}`" in line
    ]
    assert row(name) in lines


@pytest.mark.parametrize("name", PRESETS)
def test_presets_have_the_documented_sizes(name: str) -> None:
    config = classifier_preset(name, channels=3, classes=2)
    assert million_parameters(config) == pytest.approx(ROUNDED_MILLIONS[name], rel=0.15)
    # Their small groups are too many in larger images: up to 1,500 and 4,096 pixels per side.
    side = {"nano": 94, "mini": 256}.get(name, PATCHES_6400)
    assert operations(config, (side // PRESETS[name].group) ** 2)[1] < 1 / 3
    assert config.token_width // config.token_heads == config.latent_width // config.latent_heads == PRESETS[name].head
    assert PRESETS[name].head == (32 if name in ("nano", "mini") else 64)


@pytest.mark.parametrize("name", DENOISERS)
def test_denoisers(name: str) -> None:
    config, patch = denoiser_preset(name, channels=3, classes=10)
    assert million_parameters(config) == pytest.approx(MILLIONS["denoiser"][name], rel=0.05)
    assert (config.values, config.out_values, config.tokens) == (3 * patch**2, 3 * patch**2, 64)
    assert config.token_width // config.token_heads == config.latent_width // config.latent_heads == 64
    assert denoiser_preset(name, 3, 0)[0].condition_width is None
    assert denoiser_preset(name, 1, 0, changes={"patch": 2})[0].values == 4
    assert (config.output_patch == patch) == (name in ("debug", "nano"))
    assert denoiser_preset(name, 3, 10, changes={"output_head": "linear"})[0].output_patch is None
    assert denoiser_preset(name, 3, 10, changes={"patch": 1})[0].output_patch is None  # there is no margin


@pytest.mark.parametrize("name", DECODERS)
def test_decoders(name: str) -> None:
    config, patch = decoder_preset(name, channels=3, classes=10, levels=256, starts=10)
    assert million_parameters(config) == pytest.approx(MILLIONS["decoder"][name], rel=0.05)
    assert (config.tokens, config.vocabulary) == (3 * patch**2, 256)
    assert decoder_preset(name, 1, 0, 16, 1, changes={"patch": 3})[0].tokens == 9


@pytest.mark.parametrize("preset", [*DENOISERS.values(), *DECODERS.values()], ids=lambda preset: preset.plan)
def test_plans_end_with_local_layers(preset: object) -> None:
    """Pixels are predicted from tokens: without local layers at the end, the last global layers have no effect."""
    assert parse_plan(preset.plan)[-1][1] == 0  # type: ignore[attr-defined]


def test_errors_about_unknown_presets_list_the_presets() -> None:
    with pytest.raises(ConfigError, match="no preset 'large'; there are debug, nano, tiny, small, base"):
        denoiser_preset("large", 3, 0)
    with pytest.raises(ConfigError, match="no preset 'base'; there are debug, nano, tiny, small"):
        decoder_preset("base", 3, 0, 256, 1)


CHANGES = {"latents": 3, "token_width": 24, "latent_width": 32, "head": 8}
FAMILIES: dict[str, Callable[[dict[str, Any]], TrunkConfig]] = {
    "classifier": lambda changes: classifier_preset("tiny", 3, 2, changes),
    "dense": lambda changes: dense_preset("tiny", 3, 2, 2, changes),
    "denoiser": lambda changes: denoiser_preset("tiny", 3, 0, changes)[0],
    "decoder": lambda changes: decoder_preset("tiny", 3, 0, 16, 1, changes)[0],
}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_preset_with_changes(family: str) -> None:
    plan = "(1)2(1)" if family != "classifier" else "(1)2(1)1"
    config = FAMILIES[family]({"plan": plan, **CHANGES})
    assert (config.plan, config.latents, config.token_width, config.latent_width) == (plan, 3, 24, 32)
    assert (config.token_heads, config.latent_heads) == (3, 4)
    assert FAMILIES[family]({}) != config
    build(config, "meta")


@pytest.mark.parametrize("family", ["classifier", "dense", "denoiser"])
def test_a_preset_with_another_group(family: str) -> None:
    assert FAMILIES[family]({"group": 4}).tokens == 16


def test_a_classifier_keeps_the_name_of_its_head() -> None:
    """Whether there is such a head is known when the model is built: a package may add it."""
    assert classifier_preset("tiny", 3, 2).output_head == "attention"
    assert classifier_preset("tiny", 3, 2, {"output_head": "mean"}).output_head == "mean"


def test_a_dense_plan_has_a_tail_of_its_own_or_that_of_the_classifier() -> None:
    assert dense_preset("tiny", 3, 2, changes={"plan": "(1)2(3)"}).plan == "(1)2(3)"
    assert dense_preset("tiny", 3, 2, changes={"plan": "(1)2(3)4"}).plan == "(1)2(3)4(3)"


@pytest.mark.parametrize(
    ("family", "changes", "message"),
    [
        ("classifier", {"plan": "(1)2(1)"}, "a classifier pools latents"),
        ("classifier", {"plan": "2(4)"}, "does not have the form"),
        ("classifier", {"token_width": 100}, "token_width 100 is no multiple of a head (64)"),
        ("classifier", {"head": 0}, "head must be at least 1"),
        ("classifier", {"stem": "deep"}, "stem"),
        ("dense", {"plan": "(3)"}, "must end with local layers after global ones"),
        ("denoiser", {"plan": "(1)2(1)1"}, "must end with local layers after global ones"),
        ("denoiser", {"plan": "(3)"}, "must end with local layers after global ones"),
        ("denoiser", {"stem": "conv"}, "has no stem to choose"),
        ("denoiser", {"output_head": "fancy"}, "output_head must be one of linear, overlap, not 'fancy'"),
        ("denoiser", {"output_head": "overlap", "patch": 1}, "no margin to overlap by"),
        ("dense", {"output_head": "overlap"}, "has no output head to choose"),
        ("decoder", {"output_head": "overlap"}, "has no output head to choose"),
        ("decoder", {"plan": "(1)2"}, "must end with local layers after global ones"),
        ("decoder", {"group": 2}, "has no group to choose"),
    ],
)
def test_changes_that_fit_no_model(family: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        FAMILIES[family](changes)


@pytest.mark.parametrize("name", PRESETS)
def test_patches_of_one_pixel_have_a_linear_stem(name: str) -> None:
    config = classifier_preset(name, channels=512, classes=2, changes={"patch": 1})
    assert (config.stem, config.values, config.group) == ("linear", 512, PRESETS[name].group)
    build(config, "meta")
    assert dense_preset(name, channels=512, outputs=2, cell=1, changes={"patch": 1}).stem == "linear"
