"""Schedules fall from data to noise, and those without a meaning are refused."""

from __future__ import annotations

import math

import pytest
import torch

from fitcli.tasks.diffusion.schedules import SMALLEST, parse_schedule, shifted
from models.checks import ConfigError

SCHEDULES = ["cosine", "cosine@0.2,1,1", "cosine@0,1,0.8", "cosine@0,1,1.2", "sigmoid@-3,3,0.9", "log@1,100,t"]


@pytest.mark.parametrize("name", [*SCHEDULES, "simple_linear", "cosine_anything", "simple_linear@x", "log@1,100,f"])
def test_schedules_fall_from_data_to_noise(name: str) -> None:
    gamma = parse_schedule(name)(torch.linspace(0, 1, 201))
    assert gamma[0] > 0.999
    assert gamma[-1] < 1e-6
    assert (gamma.diff() <= 1e-6).all()
    assert torch.isfinite(gamma).all()


def test_fractional_powers_of_a_cosine_have_values_at_its_end() -> None:
    # The reference gives NaN everywhere: the cosine of a right angle rounds to less than 0.
    t = torch.tensor([0.25, 0.5, 1.0])
    expected = [math.cos(u * math.pi / 2) ** 1.6 for u in (0.25, 0.5)]
    gamma = parse_schedule("cosine@0,1,0.8")(t)
    assert gamma[:2].tolist() == pytest.approx(expected, abs=1e-6)
    assert gamma[2].item() == pytest.approx(SMALLEST)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "unknown schedule ''"),
        ("linear", "unknown schedule 'linear'"),
        ("sigmoid", "start,end,tau"),
        ("log", "start,end,reverse"),
        ("log@1,100", "start,end,reverse"),
        ("cosine@0,1", "start,end,tau"),
        ("cosine@0,1,1,1", "start,end,tau"),
        ("cosine@0,one,1", "cosine@0,one,1"),
        ("sigmoid@-3,3", "start,end,tau"),
        ("log@0,100,f", "no value"),
        ("log@-1,100,f", "no value"),
        ("cosine@0,1.5,0.8", "no value"),
        ("cosine@0.5,0.5,1", "no value"),
        ("sigmoid@1,1,1", "no value"),
        ("sigmoid@-3,3,0", "tau must not be 0"),
        ("sigmoid@nan,3,1", "no value"),
    ],
)
def test_schedules_without_meaning_are_refused(name: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_schedule(name)
    assert words in str(error.value)


def test_schedules_keep_the_precision_of_their_times() -> None:
    for name in SCHEDULES:
        assert parse_schedule(name)(torch.tensor([0.5], dtype=torch.float64)).dtype == torch.float64


@pytest.mark.parametrize("shift", [-4.0, -0.5, 0.0, 2.0])
def test_a_shift_adds_to_the_log_of_the_signal_to_noise_ratio(shift: float) -> None:
    times = torch.linspace(0.05, 0.95, 19, dtype=torch.float64)
    plain, moved = (parse_schedule("cosine")(times), shifted(parse_schedule("cosine"), shift)(times))
    assert torch.allclose(torch.logit(moved), torch.logit(plain) + shift)
