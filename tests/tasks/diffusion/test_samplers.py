"""Every sampler keeps to the path of the truth, and DPM-Solver++(2M) to the exact one of a known denoiser."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from support.denoisers import normal
from torch import Tensor

from fitcli.tasks.diffusion.parameterization import add_noise
from fitcli.tasks.diffusion.samplers import DETERMINISTIC, STEPS, PreviousStep, SamplerStep, ddim, dpm, find_step
from fitcli.tasks.diffusion.schedules import parse_schedule


def test_ddim_with_the_truth_lands_on_the_path_of_the_truth() -> None:
    data, noise = normal(1, 4, 3), normal(1, 4, 3, seed=1)
    now, after = torch.tensor(0.2).double(), torch.tensor(0.7).double()
    found = ddim(add_noise(data, noise, now), data, noise, now, after, None)
    assert torch.allclose(found, add_noise(data, noise, after))


@pytest.mark.parametrize(("name", "tolerance"), [("ddpm@small", 0.02), ("ddim", 0.02)])
def test_steps_keep_the_distribution_of_noisy_data(name: str, tolerance: float) -> None:
    """From noisy data, whose data and noise are known, a step gives data that are as noisy as they should be."""
    noise, z = normal(200_000), normal(200_000, seed=1)
    data, now, after = torch.full_like(noise, 0.8), torch.tensor(0.3).double(), torch.tensor(0.6).double()
    found = find_step(name)(add_noise(data, noise, now), data, noise, now, after, z)
    assert found.mean().item() == pytest.approx(0.8 * math.sqrt(0.6), abs=tolerance)
    assert found.std().item() == pytest.approx(math.sqrt(0.4), abs=tolerance)


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize(("now", "after"), [(0.0, 1e-9), (0.0, 0.5), (1e-9, 1.0), (1.0, 1.0), (0.9, 1.0), (0.0, 0.0)])
def test_every_step_has_a_value_at_both_ends_of_time(name: str, now: float, after: float) -> None:
    x = normal(4)
    found = find_step(name)(x, x, x, torch.tensor(now).double(), torch.tensor(after).double(), x)
    assert torch.isfinite(found).all()


def test_samplers_that_draw_noise_say_so_when_there_is_none() -> None:
    x, gamma = normal(4), torch.tensor(0.5)
    for name, step in STEPS.items():
        if step in DETERMINISTIC:
            assert torch.isfinite(step(x, x, x, gamma, gamma, None)).all()
        else:
            with pytest.raises(ValueError, match="noise in every step"):
                find_step(name)(x, x, x, gamma, gamma, None)


MEAN, DEVIATION = torch.tensor([0.3, -0.8, 0.0]).double(), torch.tensor([0.5, 0.1, 1.5]).double()


def denoise(x: Tensor, gamma: Tensor) -> Tensor:
    """Return E[data | x] for normal data."""
    share = gamma.sqrt() * DEVIATION**2 / (gamma * DEVIATION**2 + 1 - gamma)
    return MEAN + share * (x - gamma.sqrt() * MEAN)


def exact(z: Tensor, gamma: Tensor) -> Tensor:
    """Return the solution of the probability flow ODE, in which every x keeps its quantile."""
    return gamma.sqrt() * MEAN + (gamma * DEVIATION**2 + 1 - gamma).sqrt() * z


def error(step: SamplerStep, count: int) -> float:
    """Return the largest error after `count` steps that are even in the log of the signal-to-noise ratio."""
    gammas = torch.sigmoid(torch.linspace(-6, 4, count + 1, dtype=torch.float64))
    z = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    x, earlier = exact(z, gammas[0]), None
    for now, after in pairwise(gammas):
        data = denoise(x, now)
        noise = (x - now.sqrt() * data) / (1 - now).sqrt()
        x, earlier = step(x, data, noise, now, after, None, earlier), PreviousStep(data, now)
    return float((x - exact(z, gammas[-1])).abs().max())


@pytest.mark.parametrize(("step", "order"), [(ddim, 1), (dpm, 2)])
def test_halving_the_steps_shows_the_order(step: SamplerStep, order: int) -> None:
    errors = [error(step, count) for count in (40, 80, 160, 320)]
    orders = [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]
    assert orders[-1] == pytest.approx(order, abs=0.15)
    assert errors[-1] < 5e-3


def test_few_steps_of_the_multistep_sampler_are_worth_many_of_ddim() -> None:
    assert error(dpm, 20) < error(ddim, 100)


def test_uneven_steps_keep_the_order() -> None:
    # With a cosine schedule neighbouring steps differ in the log of the signal-to-noise ratio.
    def at(count: int) -> float:
        times = torch.linspace(0.95, 0.1, count + 1, dtype=torch.float64)
        z, gammas = torch.tensor([1.0, -2.0, 0.5]).double(), parse_schedule("cosine")(times)
        x, earlier = exact(z, gammas[0]), None
        for now, after in pairwise(gammas):
            data = denoise(x, now)
            x, earlier = (
                dpm(x, data, x, now, after, None, earlier) if earlier else _first(x, data, now, after),
                PreviousStep(data, now),
            )
        return float((x - exact(z, gammas[-1])).abs().max())

    assert math.log2(at(100) / at(200)) == pytest.approx(2, abs=0.2)


def _first(x: Tensor, data: Tensor, now: Tensor, after: Tensor) -> Tensor:
    return ddim(x, data, (x - now.sqrt() * data) / (1 - now).sqrt(), now, after, None)


def test_no_noise_left_is_no_trouble() -> None:
    one, now = torch.ones(2).double(), torch.tensor(0.9).double()
    after = dpm(one, one * 2, one, now, torch.tensor(1.0).double(), None, PreviousStep(one, torch.tensor(0.5).double()))
    assert torch.allclose(after, one * 2)
