"""The sampling loop refuses what has no meaning, and draws no noise that a sampler ignores."""

from __future__ import annotations

from typing import Any

import pytest
from support.denoisers import normal, random_denoiser
from torch import Tensor

from fitcli.tasks.diffusion.in_memory import generate
from fitcli.tasks.diffusion.sampling import Sampling
from models.checks import ConfigError
from models.denoiser import FITDenoiser
from models.groups import Groups


@pytest.fixture(scope="module")
def model() -> FITDenoiser:
    return random_denoiser()


def test_deterministic_samplers_draw_no_noise(model: FITDenoiser) -> None:
    def never(_: int) -> Tensor:
        raise AssertionError("noise was drawn")

    generate(model, Sampling(steps=2), Groups.of_grid(1, 1, 2), normal(2, 4, 3), step_noise=never)


def test_guidance_needs_a_condition(model: FITDenoiser) -> None:
    with pytest.raises(ValueError, match=r"guidance 1\.5"):
        generate(model, Sampling(steps=2, guidance=1.5), Groups.of_grid(1, 1, 2), normal(2, 4, 3))


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"steps": 0}, "not 0"), ({"decay": 1.5}, "1.5"), ({"time_difference": -1.0}, "-1.0")],
)
def test_sampling_without_meaning_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Sampling(**{"steps": 4} | changes)
