"""Every plan gives the loss and the gradients of the diffusion objective on a whole batch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from support.steps import DENOISER, PLANS, assert_same_gradients, batches
from torch import Tensor

from fitcli.execution.plan import ExecutionPlan
from fitcli.execution.run import run_job
from fitcli.tasks.diffusion.loss import DiffusionBatch, DiffusionLoss
from fitcli.tasks.diffusion.schedules import cosine, shifted
from fitcli.tasks.diffusion.step import DiffusionStep, diffusion_job
from models.build import build
from models.checks import ConfigError
from models.config import DenoiserConfig
from models.denoiser import FITDenoiser

CONFIGS = {
    "ends with local layers": DenoiserConfig(plan="(1)1(2)1(1)", **DENOISER),
    "ends with global layers": DenoiserConfig(plan="(1)1(1)1", cross_mlp=True, **DENOISER),
    "local layers alone": DenoiserConfig(plan="(2)", **DENOISER),
    "overlapping patches": DenoiserConfig(plan="(1)1(1)", output_patch=2, **DENOISER),
    "not self-conditioned": DenoiserConfig(plan="(1)1(1)", **DENOISER | {"self_condition": False}),
}
EVERY_PLAN = {"plain": ExecutionPlan(), **PLANS}
UNIFORM = torch.tensor([0.9, 0.1, 0.95])
"""Uniform random numbers of the images. The second image is not self-conditioned at rates up to 0.9."""


def live(config: DenoiserConfig) -> FITDenoiser:
    model = build(config).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return model


def batch_of(kind: str) -> DiffusionBatch:
    groups = batches(2)[kind]
    generator = torch.Generator().manual_seed(2)
    data, noise = (torch.randn(len(groups.number), 4, 12, generator=generator, dtype=torch.float64) for _ in range(2))
    condition = torch.randn(groups.images, 1, 5, generator=generator, dtype=torch.float64)
    time = torch.linspace(0.1, 0.9, groups.images).double()
    return DiffusionBatch(data.clamp(-1, 1), groups, noise, time, condition, UNIFORM[: groups.images].double())


def step_of(batch: DiffusionBatch, rate: float) -> DiffusionStep:
    assert batch.keep is not None
    return DiffusionStep(
        groups=batch.groups,
        data=lambda part: batch.data[part],
        noise=lambda part: batch.noise[part],
        time=batch.time,
        condition=batch.condition,
        conditioned=batch.keep > 1 - rate,
    )


def gradients(model: FITDenoiser) -> dict[str, Tensor | None]:
    found = {name: parameter.grad for name, parameter in model.named_parameters()}
    model.zero_grad(set_to_none=True)
    return found


@pytest.mark.walk
@pytest.mark.parametrize("kind", ["whole", "ragged", "one group"])
@pytest.mark.parametrize("name", CONFIGS)
def test_every_plan_gives_the_objective_of_the_whole_batch(name: str, kind: str) -> None:
    model, batch = live(CONFIGS[name]), batch_of(kind)
    objective = DiffusionLoss(
        schedule=shifted(cosine, -1.5), prediction="v", loss="v", clip=None, self_condition_rate=0.5, by_masking=True
    )
    loss = objective(model, batch)[0]
    loss.backward()
    expected = gradients(model)
    for plan_name, plan in EVERY_PLAN.items():
        outcome = run_job(diffusion_job(objective, model, step_of(batch, 0.5), plan), plan)
        assert abs(outcome.loss / loss.detach() - 1) < 1e-9, plan_name
        assert_same_gradients(gradients(model), expected, 1e-9)


@pytest.mark.walk(3)
@pytest.mark.parametrize(
    "changes",
    [
        {"prediction": "eps", "loss": "eps"},
        {"prediction": "x", "loss": "x", "scale": 0.5},
        {"prediction": "v", "loss": "eps"},
        {"prediction": "eps", "loss": "v", "clip": (-1.0, 1.0)},
        {"prediction": "x", "loss": "x", "weighting": "min-snr"},
        {"prediction": "v", "loss": "v", "weighting": "sigmoid"},
        {"self_condition_rate": 0.0},
        {"self_condition_rate": 1.0},
    ],
    ids=str,
)
def test_every_kind_of_objective(changes: dict[str, Any]) -> None:
    objective = DiffusionLoss(**{"by_masking": True, "clip": None} | changes)
    model, batch = live(CONFIGS["ends with local layers"]), batch_of("ragged")
    loss = objective(model, batch)[0]
    loss.backward()
    expected = gradients(model)
    for plan in (ExecutionPlan(), PLANS["half kept"], PLANS["streamed"]):
        outcome = run_job(diffusion_job(objective, model, step_of(batch, objective.self_condition_rate), plan), plan)
        assert abs(outcome.loss / loss.detach() - 1) < 1e-9
        assert_same_gradients(gradients(model), expected, 1e-9)


def test_the_loss_of_a_velocity_is_that_of_what_the_network_says() -> None:
    objective = DiffusionLoss(prediction="v", loss="v", clip=None)
    data, noise, output = torch.randn(3, 5, 4, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    gamma = torch.linspace(0.01, 0.99, 5).double()[:, None, None]
    noisy = gamma.sqrt() * data + (1 - gamma).sqrt() * noise
    velocity = gamma.sqrt() * noise - (1 - gamma).sqrt() * data
    torch.testing.assert_close(objective.error(output, noisy, data, noise, gamma)[0], velocity - output)


@pytest.mark.parametrize("plan", ["all replayed", "streamed", "streamed to disk"])
def test_the_first_run_takes_a_handful_at_a_time(plan: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch, seen = live(CONFIGS["ends with local layers"]), batch_of("whole"), []
    embed = FITDenoiser.embed

    def counting(self: FITDenoiser, patches: Tensor, mask: Tensor | None) -> Tensor:
        seen.append((len(patches), torch.is_grad_enabled()))
        return embed(self, patches, mask)

    monkeypatch.setattr(FITDenoiser, "embed", counting)
    small = replace(PLANS[plan], handful=2)
    diffusion_job(DiffusionLoss(by_masking=True), model, step_of(batch, 0.5), small)
    assert seen == [(2, False)] * 4, "8 groups, once each"


def test_a_first_run_under_autocast_leaves_the_gradients() -> None:
    """The second run must not use a weight that the first run has cast without a graph."""
    model, batch = live(CONFIGS["ends with local layers"]).float(), batch_of("whole")
    batch = batch._replace(
        data=batch.data.float(),
        noise=batch.noise.float(),
        time=batch.time.float(),
        condition=None if batch.condition is None else batch.condition.float(),
    )
    objective = DiffusionLoss(by_masking=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        run_job(diffusion_job(objective, model, step_of(batch, 0.5), ExecutionPlan()), ExecutionPlan())
    assert all(gradient is not None for gradient in gradients(model).values())


def test_a_normalising_objective_is_refused() -> None:
    batch = batch_of("whole")
    with pytest.raises(ConfigError, match="handful"):
        diffusion_job(
            DiffusionLoss(normalize=True), live(CONFIGS["local layers alone"]), step_of(batch, 0.5),
            ExecutionPlan(),
        )  # fmt: skip
