"""The estimate of a step equals the real step on fake tensors: bytes within 5 %, operations within 0.5 %."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from fitcli.execution.plan import ExecutionPlan
from fitcli.memory.estimate import Training, estimate_step
from fitcli.memory.fake_step import Simulation, simulate_step
from fitcli.memory.plan import named_plans
from fitcli.runs.config import ModelConfig
from fitcli.tasks.registry import TASKS, find_task
from models.config import DecoderConfig, DenoiserConfig
from models.cost import encoder_flops
from models.presets import classifier_preset

TRUNK: dict[str, Any] = {
    "tokens": 64, "latents": 16, "token_width": 128, "latent_width": 256, "token_heads": 2, "latent_heads": 4,
}  # fmt: skip

CONFIGS: dict[str, ModelConfig] = {
    "classifier": replace(classifier_preset("tiny", 3, 10), stem="linear", token_width=128, token_heads=2),
    "convolutional classifier": classifier_preset("tiny", 3, 10),
    "classifier of overlapping convolutions": replace(
        classifier_preset("tiny", 3, 14), stem="overlap", token_width=128, token_heads=2, targets=(10, 4)
    ),
    "denoiser": DenoiserConfig(
        plan="(2)2(1)2(1)", values=192, out_values=192, condition_width=10, self_condition=True, **TRUNK
    ),
    "denoiser that ends with global layers": DenoiserConfig(
        plan="(1)2(1)2", values=48, out_values=48, condition_width=None, **TRUNK
    ),
    "decoder": DecoderConfig(plan="(2)2(1)2(1)", vocabulary=256, causal="tokens", **TRUNK),
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
    "stream": ExecutionPlan(kind="stream", handful=4, global_layers="checkpoint"),
    "rerun": ExecutionPlan(kind="stream", handful=5, global_layers="rerun"),
}

# By default a few; the slow tests have every plan with every model.
CASES = [
    pytest.param(
        model, plan, ("bf16", "fp32")[number % 2], (1, (5, 4)) if number % 3 else (2, (3, 5)),
        marks=() if number % 6 == 0 else pytest.mark.slow,
    )
    for number, (plan, model) in enumerate(itertools.product(PLANS, CONFIGS))
]  # fmt: skip


def simulate(config: ModelConfig, *arguments: Any, **settings: Any) -> Simulation:
    """Simulate a step of the task whose models have this type of config."""
    (task,) = (find_task(name) for name in TASKS if find_task(name).details.model_type is type(config))
    return simulate_step(task, config, *arguments, **settings)


@pytest.mark.parametrize(("model", "plan", "precision", "batch"), CASES)
def test_the_estimate_agrees_with_the_real_step(
    model: str, plan: str, precision: Any, batch: tuple[int, tuple[int, int]]
) -> None:
    config, (images, side) = CONFIGS[model], batch
    real = simulate(config, images, side, PLANS[plan], precision)
    work = Training(
        config=config, groups=side[0] * side[1], images=images, precision=precision, device="cuda", batches=1
    )
    paper = estimate_step(work, PLANS[plan])
    moving = {"parameters", "optimizer"}
    peak = sum(size for name, size in paper.parts.items() if name not in moving)
    assert peak == pytest.approx(real.peak_bytes, rel=0.05)
    assert paper.total_flops == pytest.approx(real.flops, rel=0.005)
    assert paper.away_bytes == real.away_bytes


@pytest.mark.parametrize(
    ("model", "plan"),
    [
        ("classifier", "plain"),
        pytest.param("classifier", "attention kept", marks=pytest.mark.slow),
        pytest.param("classifier", "recompute", marks=pytest.mark.slow),
        pytest.param("decoder", "plain", marks=pytest.mark.slow),
        pytest.param("denoiser", "stream", marks=pytest.mark.slow),
    ],
)
def test_the_estimate_agrees_if_three_ranks_share_an_image(model: str, plan: str) -> None:
    config = CONFIGS[model]
    real = simulate(config, 1, (6, 8), PLANS[plan], "bf16", ranks=3)
    paper = estimate_step(Training(config=config, groups=48, precision="bf16", batches=1, ranks=3), PLANS[plan])
    peak = sum(size for name, size in paper.parts.items() if name not in ("parameters", "optimizer"))
    assert peak == pytest.approx(real.peak_bytes, rel=0.05)
    assert paper.total_flops == pytest.approx(real.flops, rel=0.005)


@pytest.mark.slow
@pytest.mark.parametrize("plan", named_plans(Training(config=CONFIGS["denoiser"], groups=1)))
@pytest.mark.parametrize(("preset", "side"), [("tiny", 4096), ("small", 2048), ("base", 2048), ("base", 6400)])
def test_presets_at_their_sizes(preset: str, side: int, plan: str) -> None:
    config = classifier_preset(preset, 3, 100)
    groups = side // (config.patch * config.group)
    work = Training(config=config, groups=groups**2, precision="bf16")
    how = named_plans(work)[plan]
    real, paper = simulate(config, 1, (groups, groups), how, "bf16"), estimate_step(work, how)
    peak = sum(size for name, size in paper.parts.items() if name not in ("parameters", "optimizer"))
    assert peak == pytest.approx(real.peak_bytes, rel=0.05)
    assert paper.total_flops == pytest.approx(real.flops, rel=0.005)


def test_operations_agree_with_those_of_the_forward_pass() -> None:
    """A plain step has those of the forward pass, and backward 2 times them for products, 2.5 times for attention."""
    config = classifier_preset("base", 3, 100)
    paper = estimate_step(Training(config=config, groups=100), ExecutionPlan())
    stated = encoder_flops(config, 100)
    products = sum(count for (place, kind), count in paper.flops.items() if kind == "product" and place != "head")
    attention = paper.flops["local", "attention"] + paper.flops["global", "attention"]
    cross = paper.flops["cross", "attention"]
    assert attention == 3.5 * (stated.local_attention + stated.mix_attention)
    # Pixels need no gradient.
    assert products == 3 * (stated.total - stated.local_attention - stated.mix_attention - cross / 3.5) - stated.stem
