"""Every execution of a step gives the loss and the gradients of plain autograd through the whole model."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.steps import CONFIGS, PLANS, Step, assert_none_is_rounding_alone, assert_same_gradients
from torch import Tensor, nn

from fitcli.execution.job import Job, LatentLoss
from fitcli.execution.plan import ExecutionPlan
from fitcli.execution.run import run_job
from fitcli.tasks.diffusion.step import denoising_job, mean_square
from models.real_tokens import RealTokens


@pytest.mark.walk(8)
@pytest.mark.parametrize("kind", ["whole", "ragged", "one group"])
@pytest.mark.parametrize("name", CONFIGS)
def test_equal_to_plain_autograd(name: str, kind: str) -> None:
    step = Step(CONFIGS[name], kind)
    loss = step.plain()
    loss.backward()
    expected = step.gradients()
    assert any(gradient is not None for gradient in expected.values())
    for plan_name, plan in {"plain": ExecutionPlan(), **PLANS}.items():
        outcome = run_job(step.job(), plan)
        assert not outcome.loss.requires_grad
        assert abs(outcome.loss / loss.detach() - 1) < 1e-12, plan_name
        gradients = step.gradients()
        assert_same_gradients(gradients, expected, 1e-9)
        if kind != "one group":
            assert_none_is_rounding_alone(gradients)


@pytest.mark.walk(1)
@pytest.mark.parametrize("name", ["classifier", "denoiser", "decoder"])
def test_loss_is_the_same_to_the_bit_in_float32(name: str) -> None:
    """For whole groups; small products, like those of one group at a corner, round differently."""
    step = Step(CONFIGS[name], "whole", torch.float32)
    plain = run_job(step.job(), ExecutionPlan()).loss
    for plan_name, plan in PLANS.items():
        assert torch.equal(run_job(step.job(), plan).loss, plain), plan_name


@pytest.mark.walk(1)
@pytest.mark.parametrize("name", ["classifier", "denoiser", "decoder"])
def test_autocast_keeps_gradients_close(name: str) -> None:
    """Compared with float32, the error of every execution is at most 1.5 times that of plain bfloat16."""
    step = Step(CONFIGS[name], "ragged", torch.float32)
    run_job(step.job(), ExecutionPlan())
    exact = step.gradients()
    with torch.autocast("cpu", torch.bfloat16):
        plain = run_job(step.job(), ExecutionPlan()).loss
        allowed = 1.5 * distance(step.gradients(), exact)
        for plan_name, plan in PLANS.items():
            loss = run_job(step.job(), plan).loss
            assert abs(loss / plain - 1) < 1e-2, plan_name
            assert 0 < distance(step.gradients(), exact) < allowed, plan_name
        assert torch.is_autocast_enabled("cpu")
        assert torch.is_autocast_cache_enabled()


def distance(gradients: dict[str, Tensor | None], expected: dict[str, Tensor | None]) -> float:
    """Return the relative difference of all gradients together."""
    pairs = [(gradients[name], gradient) for name, gradient in expected.items() if gradient is not None]
    error = sum(float((other - gradient).square().sum()) for other, gradient in pairs if other is not None)
    return float((error / sum(float(gradient.square().sum()) for _, gradient in pairs)) ** 0.5)


@pytest.mark.walk(4)
@pytest.mark.parametrize("name", PLANS)
def test_gradients_add_up_with_their_weights(name: str) -> None:
    step = Step(CONFIGS["denoiser"])
    run_job(step.job(), ExecutionPlan())
    once = step.gradients()
    losses = [run_job(step.job(), PLANS[name], weight).loss for weight in (0.5, 2.0)]
    assert torch.equal(*losses), "the weight is not part of the loss"
    expected = {key: None if gradient is None else 2.5 * gradient for key, gradient in once.items()}
    assert_same_gradients(step.gradients(), expected, 1e-9)


def test_frozen_parameters_get_no_gradients() -> None:
    step = Step(CONFIGS["classifier"])
    step.model.encoder.embed.requires_grad_(False)
    step.model.encoder.start.requires_grad_(False)
    step.plain().backward()
    expected = step.gradients()
    for plan in PLANS.values():
        run_job(step.job(), plan)
        assert_same_gradients(step.gradients(), expected, 1e-9)


def test_no_grad_of_the_caller_changes_nothing() -> None:
    step = Step(CONFIGS["classifier"])
    step.plain().backward()
    expected = step.gradients()
    for plan in PLANS.values():
        with torch.no_grad():
            run_job(step.job(), plan)
        assert_same_gradients(step.gradients(), expected, 1e-9)


@pytest.mark.parametrize("kind", ["recompute", "stream"])
def test_no_call_takes_more_than_a_handful(kind: Any) -> None:
    step = Step(CONFIGS["denoiser"], "whole")
    slices: list[slice] = []

    def recorded(part: slice, real: RealTokens) -> Tensor:
        slices.append(part)
        return step.packed(part, real)

    loss = mean_square(step.groups, lambda part: step.noise[part])
    job = denoising_job(step.model, step.groups, recorded, step.level, loss, step.condition, step.previous)
    run_job(job, ExecutionPlan(kind=kind, handful=3))
    assert {(part.start, part.stop) for part in slices} == {(0, 3), (3, 6), (6, 8)}
    assert len(slices) == 6, "once forward, once in the replay"


def test_gradients_are_those_of_finite_differences() -> None:
    step = Step(CONFIGS["decoder"], "whole")
    run_job(step.job(), PLANS["streamed"])
    gradients = step.gradients()
    parameters: dict[str, nn.Parameter] = dict(step.model.named_parameters())
    for name in ("embedding.weight", "start.table", "trunk.segments.0.mix.stack.layers.0.attention.out.weight"):
        gradient, parameter = gradients[name], parameters[name]
        assert gradient is not None
        losses = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter += sign * 1e-5 * gradient
                losses.append(float(step.plain()))
                parameter -= sign * 1e-5 * gradient
        assert (losses[0] - losses[1]) / 2e-5 == pytest.approx(float(gradient.square().sum()), rel=1e-6)


def test_a_loss_may_come_from_tokens_and_latents() -> None:
    step = Step(CONFIGS["classifier"])
    encoder, groups = step.model.encoder, step.groups

    def job() -> Job:
        return Job(
            trunk=encoder.trunk,
            groups=groups,
            embed=lambda part, real: encoder.embed(real.pack(step.patches(part)), real),
            start=lambda: encoder.start(groups, encoder.start.table),
            loss_from_tokens=lambda part, real, tokens: real.unpack(encoder.token_norm(tokens).sin()).sum(dim=(1, 2)),
            loss_from_latents=lambda latents: LatentLoss(encoder.latent_norm(latents).cos().sum()),
        )

    features = encoder(step.patches(slice(None)), groups)
    (features.tokens.sin().sum() + features.latents.cos().sum()).backward()
    expected = step.gradients()
    for plan in PLANS.values():
        run_job(job(), plan)
        assert_same_gradients(step.gradients(), expected, 1e-9)
