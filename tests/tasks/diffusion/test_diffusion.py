"""Diffusion: schedules, parameterization, samplers, the loop and the objective, beyond the reference data."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fitcli.patches.cutting import groups_of
from fitcli.patches.grid import PatchGrid
from fitcli.tasks.diffusion.in_memory import Trace, generate
from fitcli.tasks.diffusion.loss import DiffusionBatch, DiffusionLoss, first_images
from fitcli.tasks.diffusion.parameterization import (
    add_noise,
    interpret,
    normalize_images,
    per_group,
    to_data,
    to_values,
)
from fitcli.tasks.diffusion.samplers import DETERMINISTIC, STEPS, ddim, ddpm_large, find_step
from fitcli.tasks.diffusion.sampling import Sampling
from fitcli.tasks.diffusion.schedules import SMALLEST, parse_schedule
from models.build import build
from models.checks import ConfigError
from models.config import DenoiserConfig
from models.denoiser import FITDenoiser
from models.groups import Groups

SCHEDULES = ["cosine", "cosine@0.2,1,1", "cosine@0,1,0.8", "cosine@0,1,1.2", "sigmoid@-3,3,0.9", "log@1,100,t"]

CONFIG = DenoiserConfig(
    plan="(1)1(1)",
    tokens=4,
    latents=2,
    token_width=16,
    latent_width=16,
    token_heads=2,
    latent_heads=2,
    values=3,
    out_values=3,
    condition_width=5,
    self_condition=True,
)


@pytest.fixture(scope="module")
def model() -> FITDenoiser:
    model = build(CONFIG).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return model.eval()


def ragged() -> list[Groups]:
    """Three images of different sizes, two of them with padding."""
    return [groups_of(PatchGrid(size, patch=1, group=2)) for size in ((3, 3), (4, 4), (1, 5))]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# Schedules ------------------------------------------------------------------------------------------------------------


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


# Parameterization -----------------------------------------------------------------------------------------------------


@given(gamma=st.floats(1e-3, 1 - 1e-3), seed=st.integers(0, 99))
@settings(deadline=None)
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


# Samplers -------------------------------------------------------------------------------------------------------------


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


# The loop -------------------------------------------------------------------------------------------------------------


def test_images_are_sampled_the_same_alone_and_together(model: FITDenoiser) -> None:
    parts = ragged()
    groups, count = Groups.join(parts), sum(len(part.number) for part in parts)
    initial, condition, z = normal(count, 4, 3), normal(3, 1, 5, seed=1), normal(5, count, 4, 3, seed=2)
    sampling = Sampling(steps=5, sampler=ddpm_large, prediction="v", guidance=0.7, decay=0.3, normalize=True)
    run_on_all, start = generate(model, sampling, groups, initial, condition, lambda k: z[k]), 0
    for image, part in enumerate(parts):
        own = slice(start, start + len(part.number))
        alone = generate(model, sampling, part, initial[own], condition[[image]], lambda k, own=own: z[k, own])
        real = slice(None) if part.mask is None else part.mask
        assert (run_on_all[own][real] - alone[real]).abs().max() < 1e-9
        start = own.stop


def test_one_step_of_the_truth_is_the_data(model: FITDenoiser) -> None:
    traces: list[Trace] = []
    groups = Groups.of_grid(1, 1, 2)
    sampling = Sampling(steps=3, prediction="x", clip=None)
    result = generate(model, sampling, groups, normal(2, 4, 3), normal(1, 1, 5), callback=traces.append)
    assert [trace.step for trace in traces] == [0, 1, 2]
    assert torch.equal(result, traces[-1].data)
    assert torch.equal(traces[-1].data, traces[-1].output)
    assert all(trace.unconditional is None for trace in traces)
    assert all(one.gamma_next == two.gamma_now for one, two in pairwise(traces))


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


# The objective --------------------------------------------------------------------------------------------------------


def batch_of(parts: list[Groups], seed: int = 0) -> DiffusionBatch:
    groups = Groups.join(parts)
    count, images = len(groups.number), groups.images
    return DiffusionBatch(
        data=normal(count, 4, 3, seed=seed).clamp(-1, 1),
        groups=groups,
        noise=normal(count, 4, 3, seed=seed + 1),
        time=torch.linspace(0.1, 0.9, images).double(),
        condition=normal(images, 1, 5, seed=seed + 2),
        keep=torch.linspace(0.05, 0.95, images).double(),
    )


@pytest.mark.parametrize("by_masking", [False, True])
def test_self_conditioning_reaches_the_images_it_should(model: FITDenoiser, by_masking: bool) -> None:
    batch = batch_of(ragged())
    without = DiffusionLoss(self_condition_rate=0)(model, batch)[1].noise
    objective = DiffusionLoss(self_condition_rate=0.7, by_masking=by_masking)
    changed = (objective(model, batch)[1].noise - without).abs().flatten(1).amax(dim=1)
    expected = [False, True, True] if by_masking else [True, True, False]
    reached = per_group(torch.tensor(expected), batch.groups).flatten()
    assert torch.equal(changed > 1e-9, reached)


def test_padding_does_not_count_in_the_loss(model: FITDenoiser) -> None:
    batch = batch_of(ragged())
    mask = batch.groups.mask
    assert mask is not None
    model.requires_grad_(True)
    for objective in (DiffusionLoss(), DiffusionLoss(loss="x", prediction="v", normalize=True)):
        expected = objective(model, batch)[0]
        hidden = batch._replace(data=batch.data.masked_fill(~mask[..., None], float("nan")))
        loss = objective(model, hidden)[0]
        assert loss.item() == pytest.approx(expected.item(), abs=1e-12)
        model.zero_grad()
        loss.backward()
        gradients = [parameter.grad for parameter in model.parameters()]
        assert all(gradient is not None and torch.isfinite(gradient).all() for gradient in gradients)
    model.requires_grad_(False)


def test_gradients_do_not_flow_through_the_first_run(model: FITDenoiser) -> None:
    class Counting(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.config = model.config
            self.with_gradient: list[bool] = []

        def forward(self, *inputs: Any) -> Any:
            self.with_gradient.append(torch.is_grad_enabled())
            return model(*inputs)

    counting = Counting()
    DiffusionLoss()(counting, batch_of(ragged()))  # type: ignore[arg-type]
    assert counting.with_gradient == [False, True]


def test_first_images_are_the_first_of_the_list() -> None:
    parts = ragged()
    groups, expected = first_images(Groups.join(parts), 2), Groups.join(parts[:2])
    assert groups.counts() == expected.counts()
    assert torch.equal(groups.coordinates, expected.coordinates)
    assert first_images(Groups.of_grid(3, 2, 2), 2).counts() == [4, 4]


@pytest.mark.parametrize(
    ("changes", "words"), [({"loss": "w"}, "'w'"), ({"self_condition_rate": 2.0}, "2.0"), ({"scale": 0.0}, "0.0")]
)
def test_objectives_without_meaning_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        DiffusionLoss(**changes)


def test_masking_needs_a_number_per_image(model: FITDenoiser) -> None:
    with pytest.raises(ValueError, match="number per image"):
        DiffusionLoss(by_masking=True)(model, batch_of(ragged())._replace(keep=None))
