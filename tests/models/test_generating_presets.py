"""Presets of denoisers and decoders: their sizes, and that they can learn what they are for."""

from __future__ import annotations

import pytest

from models.build import build
from models.checks import ConfigError
from models.layer_plan import parse_plan
from models.presets import DECODERS, DENOISERS, decoder_preset, denoiser_preset

MILLIONS = {
    "denoiser": {"debug": 0.25, "nano": 1.0, "tiny": 7.7, "small": 33.1, "base": 131},
    "decoder": {"debug": 0.22, "nano": 0.55, "tiny": 7.1, "small": 30.7},
}
"""Parameters for red, green and blue, with ten classes; the README says the same."""


def parameters(config: object) -> float:
    return sum(p.numel() for p in build(config, "meta").parameters()) / 1e6  # type: ignore[call-overload]


@pytest.mark.parametrize("name", DENOISERS)
def test_denoisers(name: str) -> None:
    config, patch = denoiser_preset(name, channels=3, classes=10)
    assert parameters(config) == pytest.approx(MILLIONS["denoiser"][name], rel=0.05)
    assert (config.values, config.out_values, config.tokens) == (3 * patch**2, 3 * patch**2, 64)
    assert config.token_width // config.token_heads == config.latent_width // config.latent_heads == 64
    assert denoiser_preset(name, 3, 0)[0].condition_width is None
    assert denoiser_preset(name, 1, 0, patch=2)[0].values == 4


@pytest.mark.parametrize("name", DECODERS)
def test_decoders(name: str) -> None:
    config, patch = decoder_preset(name, channels=3, classes=10, levels=256, starts=10)
    assert parameters(config) == pytest.approx(MILLIONS["decoder"][name], rel=0.05)
    assert (config.tokens, config.vocabulary) == (3 * patch**2, 256)
    assert decoder_preset(name, 1, 0, 16, 1, patch=3)[0].tokens == 9


@pytest.mark.parametrize("preset", [*DENOISERS.values(), *DECODERS.values()], ids=lambda preset: preset.plan)
def test_what_the_latents_know_reaches_the_pixels(preset: object) -> None:
    """After the last global layers there are local ones: without, those would be for nothing."""
    assert parse_plan(preset.plan)[-1][1] == 0  # type: ignore[attr-defined]


def test_unknown_presets_name_those_there_are() -> None:
    with pytest.raises(ConfigError, match="no preset 'large'; there are debug, nano, tiny, small, base"):
        denoiser_preset("large", 3, 0)
    with pytest.raises(ConfigError, match="no preset 'base'; there are debug, nano, tiny, small"):
        decoder_preset("base", 3, 0, 256, 1)
