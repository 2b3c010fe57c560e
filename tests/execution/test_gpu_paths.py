"""A CUDA device runs the fast kernels, and gives the results of a CPU."""

from __future__ import annotations

import pytest
import torch

from fitcli.device.runtime import Runtime
from fitcli.execution.plan import ExecutionPlan
from fitcli.execution.run import run_job
from fitcli.tasks.classify.task import TASK as CLASSIFY
from models.build import build
from models.groups import Groups
from models.presets import classifier_preset

pytestmark = pytest.mark.gpu

PLANS = [ExecutionPlan(), ExecutionPlan(kind="recompute", global_layers="checkpoint")]


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.kind)
@pytest.mark.parametrize(
    ("preset", "compiled"), [("debug", False), ("tiny", False), ("base", False), ("base", True)], ids=str
)
def test_no_attention_falls_back_to_plain_arithmetic(preset: str, compiled: bool, plan: ExecutionPlan) -> None:
    """This holds for tokens and latents, for `read` and `write`, in both passes."""
    with torch.profiler.profile() as profile:
        _step(preset, plan, Runtime(torch.device("cuda"), "bf16", compiled))
    kernels = {event.key for event in profile.key_averages() if "scaled_dot_product" in event.key}
    assert not {name for name in kernels if "math" in name}
    assert any(name.endswith(("flash_attention", "cudnn_attention", "flash_attention_backward")) for name in kernels)


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.kind)
def test_a_step_gives_the_gradients_of_a_cpu(plan: ExecutionPlan) -> None:
    exact, expected = _step("debug", plan, Runtime(torch.device("cpu"), "fp32"))
    loss, gradients = _step("debug", plan, Runtime(torch.device("cuda"), "fp32"))
    assert loss == pytest.approx(exact, rel=1e-4)
    for name, gradient in expected.items():
        assert (gradients[name] - gradient).norm() <= 2e-3 * gradient.norm() + 1e-6, name


@pytest.mark.parametrize(
    "plan", [*PLANS, ExecutionPlan(kind="stream", handful=4, global_layers="rerun")], ids=lambda plan: plan.kind
)
def test_compiled_layers_give_the_gradients_of_eager_ones(plan: ExecutionPlan) -> None:
    exact, expected = _step("debug", plan, Runtime(torch.device("cuda"), "fp32"))
    loss, gradients = _step("debug", plan, Runtime(torch.device("cuda"), "fp32", compiled=True))
    assert loss == pytest.approx(exact, rel=1e-4)
    for name, gradient in expected.items():
        assert (gradients[name] - gradient).norm() <= 2e-3 * gradient.norm() + 1e-6, name


def _step(preset: str, plan: ExecutionPlan, runtime: Runtime) -> tuple[float, dict[str, torch.Tensor]]:
    config = classifier_preset(preset, 3, 5)
    model = build(config, seed=0).to(runtime.device)
    runtime.compile(model)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (6, config.tokens, config.values), dtype=torch.uint8, generator=generator)
    pixels = pixels.to(runtime.device)
    groups = Groups.of_grid(images=1, rows=2, columns=3).to(runtime.device)
    with runtime.autocast():
        outcome = run_job(CLASSIFY.sample_step(model, groups, lambda part: pixels[part], plan), plan)
    gradients = {name: p.grad.cpu() for name, p in model.named_parameters() if p.grad is not None}
    return outcome.loss.item(), gradients
