"""DPM-Solver++(2M) follows the exact trajectory of data whose best denoiser is known."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from fitcli.tasks.diffusion.in_memory import Trace, generate
from fitcli.tasks.diffusion.samplers import PreviousStep, SamplerStep, ddim, dpm
from fitcli.tasks.diffusion.sampling import Sampling
from fitcli.tasks.diffusion.schedules import parse_schedule, shifted
from models.build import build
from models.groups import Groups
from tests.tasks.diffusion.test_diffusion import CONFIG, normal, ragged

MEAN, DEVIATION = torch.tensor([0.3, -0.8, 0.0]).double(), torch.tensor([0.5, 0.1, 1.5]).double()


def denoise(x: Tensor, gamma: Tensor) -> Tensor:
    """E[data | x] for data that is normal."""
    share = gamma.sqrt() * DEVIATION**2 / (gamma * DEVIATION**2 + 1 - gamma)
    return MEAN + share * (x - gamma.sqrt() * MEAN)


def exact(z: Tensor, gamma: Tensor) -> Tensor:
    """The solution of the probability flow ODE: every x keeps its place in the distribution."""
    return gamma.sqrt() * MEAN + (gamma * DEVIATION**2 + 1 - gamma).sqrt() * z


def error(step: SamplerStep, count: int) -> float:
    """At the end of so many steps, even in the log of the signal-to-noise ratio."""
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


def test_in_the_loop_it_remembers_the_step_before() -> None:
    model, groups = build(CONFIG).double().eval(), Groups.join(ragged())
    initial, traces = normal(len(groups.number), 4, 3), list[Trace]()
    condition = normal(3, 1, 5, seed=2)
    result = generate(model, Sampling(steps=4, sampler=dpm), groups, initial, condition, callback=traces.append)
    x, earlier = initial, None
    for trace in traces:
        x = dpm(x, trace.data, trace.noise, trace.gamma_now, trace.gamma_next, None, earlier)
        earlier = PreviousStep(trace.data, trace.gamma_now)
        assert torch.equal(x, trace.samples)
    assert torch.equal(result, traces[-1].data)
    assert torch.isfinite(x).all()


def test_no_noise_left_is_no_trouble() -> None:
    one, now = torch.ones(2).double(), torch.tensor(0.9).double()
    after = dpm(one, one * 2, one, now, torch.tensor(1.0).double(), None, PreviousStep(one, torch.tensor(0.5).double()))
    assert torch.allclose(after, one * 2)


@pytest.mark.parametrize("shift", [-4.0, -0.5, 0.0, 2.0])
def test_a_shift_adds_to_the_log_of_the_signal_to_noise_ratio(shift: float) -> None:
    times = torch.linspace(0.05, 0.95, 19, dtype=torch.float64)
    plain, moved = (parse_schedule("cosine")(times), shifted(parse_schedule("cosine"), shift)(times))
    assert torch.allclose(torch.logit(moved), torch.logit(plain) + shift)
