"""Estimates equal the peak and the operations of the real step at its real size, run without memory group by group."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
from support.real_step import simulate_step

from fitcli.execution.plan import ExecutionPlan
from fitcli.memory.estimate import Training, estimate_step
from fitcli.runs.config import ModelConfig
from fitcli.tasks.registry import TASKS, find_task
from models.config import DecoderConfig, DenoiserConfig
from models.presets import classifier_preset, dense_preset

TRUNK: dict[str, Any] = {
    "tokens": 64, "latents": 16, "token_width": 128, "latent_width": 256, "token_heads": 2, "latent_heads": 4,
}  # fmt: skip

SHORT = "(1)2(1)1"
"""Plan of the classifiers: layers cost time here, and each kind of block is there."""

CONFIGS: dict[str, ModelConfig] = {
    "classifier": replace(
        classifier_preset("tiny", 3, 1000), stem="linear", token_width=128, token_heads=2, plan=SHORT
    ),
    "convolutional classifier": replace(classifier_preset("tiny", 3, 1000), plan=SHORT),
    "classifier of overlapping convolutions": replace(
        classifier_preset("tiny", 3, 14), stem="overlap", token_width=128, token_heads=2, targets=(10, 4), plan=SHORT
    ),
    "dense": replace(dense_preset("tiny", 3, 8), plan="(1)2(1)1(1)"),
    "denoiser": DenoiserConfig(
        plan="(1)2(1)1(1)", values=192, out_values=192, condition_width=10, self_condition=True, **TRUNK
    ),
    "denoiser that ends with global layers": DenoiserConfig(
        plan="(1)1(1)2", values=48, out_values=48, condition_width=None, **TRUNK
    ),
    "denoiser of overlapping patches": DenoiserConfig(
        plan="(1)2(1)", values=192, out_values=192, condition_width=10, self_condition=True, output_patch=8, **TRUNK
    ),
    "decoder": DecoderConfig(plan="(1)2(1)1(1)", vocabulary=256, causal="tokens", **TRUNK),
    "decoder with a table of positions": DecoderConfig(
        plan="(1)1(1)", vocabulary=256, causal="tokens", latent_positions="learned", groups=48, **TRUNK
    ),
}

PLANS = {
    "plain": ExecutionPlan(),
    "layers": ExecutionPlan(kind="layers"),
    "recompute": ExecutionPlan(kind="recompute", handful=4, global_layers="checkpoint"),
    "attention kept": ExecutionPlan(kind="recompute", handful=3, global_layers="attention"),
    "half kept": ExecutionPlan(kind="recompute", handful=4, keep=0.5),
    "half kept selectively": ExecutionPlan(
        kind="recompute", handful=4, keep=0.5, selective=True, global_layers="selective"
    ),
    "all kept selectively": ExecutionPlan(
        kind="recompute", handful=4, keep=1.0, selective=True, global_layers="selective"
    ),
    "stream": ExecutionPlan(kind="stream", handful=4, global_layers="checkpoint"),
    "rerun": ExecutionPlan(kind="stream", handful=3, global_layers="rerun"),
}

FIXED = {"parameters", "optimizer"}

# Every plan and every model once, of which two by default; the denoiser takes as long as five others. The slow tests
# have every plan with every model.
CASES = [
    pytest.param(
        model, plan, ("bf16", "fp32")[number // 2 % 2], (1, (4, 6)) if number % 3 else (2, (3, 4)),
        marks=pytest.mark.slow if number % (len(CONFIGS) + 1) else [pytest.mark.more] * (model == "denoiser"),
    )
    for number, (plan, model) in enumerate(itertools.product(PLANS, CONFIGS))
]  # fmt: skip


def task_of(config: ModelConfig) -> Any:
    return next(find_task(name) for name in TASKS if find_task(name).details.model_type is type(config))


def moving_bytes(work: Training, plan: ExecutionPlan) -> int:
    parts = estimate_step(work, plan).parts
    return sum(size for name, size in parts.items() if name not in FIXED)


@pytest.mark.walk(2)
@pytest.mark.parametrize(("model", "plan", "precision", "batch"), CASES)
def test_the_estimate_is_that_of_the_real_step(
    model: str, plan: str, precision: Any, batch: tuple[int, tuple[int, int]]
) -> None:
    """Whole handfuls: bytes within 1 %, which the allocator's rounding takes, and operations to the last.

    A short strip of causal attention counts as a whole one, and so does its mask.
    """
    config, (images, side) = CONFIGS[model], batch
    real = simulate_step(task_of(config), config, images, side, PLANS[plan], precision)
    work = Training(
        task=task_of(config), config=config, groups=side[0] * side[1], images=images, precision=precision, batches=1
    )
    estimate, causal = estimate_step(work, PLANS[plan]), config.causal != "none"
    assert moving_bytes(work, PLANS[plan]) == pytest.approx(real.peak_bytes, rel=0.05 if causal else 0.01)
    assert estimate.total_flops == pytest.approx(real.flops, rel=0.03 if causal else 0, abs=0)
    assert estimate.away_bytes == real.away_bytes


@pytest.mark.walk(1)
@pytest.mark.parametrize("name", ["plain", "recompute", "stream"])
def test_memory_of_a_causal_step_is_linear_in_the_latents(name: str) -> None:
    """A mask over all pairs would alone be larger than all that is live."""
    config = DecoderConfig(plan="(1)1(1)", vocabulary=8, causal="tokens", **TRUNK | {"tokens": 4, "latent_width": 64})
    plan, sides = replace(PLANS[name], handful=64), ((16, 16), (16, 32))
    small, large = (simulate_step(task_of(config), config, 1, side, plan, "fp32") for side in sides)
    assert large.peak_bytes <= 2 * small.peak_bytes < (256 * config.latents) ** 2 * 8
    assert large.flops > 3 * small.flops, "operations are quadratic"


@pytest.mark.walk(1)
@pytest.mark.parametrize("plan", [ExecutionPlan(), ExecutionPlan(kind="layers")], ids=["plain", "layers"])
def test_a_decoder_of_many_groups(plan: ExecutionPlan) -> None:
    task = find_task("autoregressive")
    config = task.preset("tiny").config
    real = simulate_step(task, config, 1, (32, 32), plan, "bf16")
    work = Training(task=task, config=config, groups=32 * 32, precision="bf16", batches=1)
    assert moving_bytes(work, plan) == pytest.approx(real.peak_bytes, rel=0.01)
    assert estimate_step(work, plan).total_flops == real.flops
