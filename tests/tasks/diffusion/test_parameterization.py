"""Data and noise that are turned into a prediction come back from it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.denoisers import normal, ragged

from fitcli.tasks.diffusion.parameterization import (
    add_noise,
    interpret,
    normalize_images,
    per_group,
    to_data,
    to_values,
)
from models.checks import ConfigError
from models.groups import Groups


@given(gamma=st.floats(1e-3, 1 - 1e-3), seed=st.integers(0, 99))
def test_every_prediction_of_the_truth_gives_the_truth(gamma: float, seed: int) -> None:
    data, noise, level = normal(2, 4, 3, seed=seed), normal(2, 4, 3, seed=seed + 1), torch.tensor(gamma).double()
    noisy = add_noise(data, noise, level)
    velocity = level.sqrt() * noise - (1 - level).sqrt() * data
    for kind, output in (("eps", noise), ("x", data), ("v", velocity)):
        for truncate in (False, True):
            found = interpret(output, noisy, level, kind, truncate_noise=truncate)
            assert torch.allclose(found.data, data, atol=1e-9)
            assert torch.allclose(found.noise, noise, atol=1e-9)


@pytest.mark.parametrize("kind", ["eps", "x", "v"])
@pytest.mark.parametrize("gamma", [0.0, 1.0])
def test_both_ends_of_time_have_values(kind: Any, gamma: float) -> None:
    for noisy, output in ((normal(1, 4, 3), normal(1, 4, 3, seed=1)), (torch.zeros(1, 4, 3),) * 2):
        found = interpret(output, noisy, torch.tensor(gamma), kind, (-1.0, 1.0), truncate_noise=True)
        assert torch.isfinite(found.data).all()
        assert torch.isfinite(found.noise).all()


def test_clipped_data_and_the_noise_that_belongs_to_it() -> None:
    gamma, noisy = torch.tensor(0.5).double(), normal(1, 4, 3)
    found = interpret(3 * normal(1, 4, 3, seed=1), noisy, gamma, "v", (-0.5, 0.5), truncate_noise=True)
    assert found.data.abs().max() == 0.5
    assert torch.allclose(add_noise(found.data, found.noise, gamma), noisy)


def test_other_predictions_are_refused() -> None:
    with pytest.raises(ConfigError, match="'score'"):
        interpret(torch.zeros(1), torch.zeros(1), torch.tensor(0.5), "score")  # type: ignore[arg-type]


def test_scaled_data_come_back() -> None:
    values = torch.rand(7)
    assert to_data(torch.tensor([0.0, 0.5, 1.0]), 0.3).tolist() == pytest.approx([-0.3, 0, 0.3])
    assert torch.allclose(to_values(to_data(values, 0.3), 0.3), values, atol=1e-6)


def test_images_are_normalised_apart_and_without_their_padding() -> None:
    parts = ragged()
    groups = Groups.join(parts)
    assert groups.mask is not None
    patches = normal(len(groups.number), 4, 3) * per_group(torch.tensor([1.0, 5.0, 0.1]).double(), groups)
    padded = patches.masked_fill(~groups.mask[..., None], float("nan"))
    found, start = normalize_images(padded, groups), 0
    for part in parts:
        stop = start + len(part.number)
        real = slice(None) if part.mask is None else part.mask
        values = patches[start:stop][real]
        expected = values / values.std(correction=0)
        assert torch.allclose(found[start:stop][real], expected)
        start = stop
