"""What a step takes on paper is what the real step takes on tensors without memory; and plans stay within budgets."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from fitcli.errors import FitError
from fitcli.execution.plan import ExecutionPlan
from fitcli.memory.estimate import Training, estimate_step, parameter_count
from fitcli.memory.fake_step import Simulation, simulate_step
from fitcli.memory.paper.ledger import Ledger, Node, Value, backward
from fitcli.memory.plan import cheaper_choice, choose, evaluate_plan, largest, largest_side, named_plans
from fitcli.runs.config import ModelConfig
from fitcli.tasks.registry import TASKS, find_task
from models.config import DecoderConfig, DenoiserConfig
from models.cost import encoder_flops
from models.presets import classifier_preset

GIB = 2**30

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

# A few by default; every plan with every model among the slow tests.
CASES = [
    pytest.param(
        model, plan, ("bf16", "fp32")[number % 2], (1, (5, 4)) if number % 3 else (2, (3, 5)),
        marks=() if number % 6 == 0 else pytest.mark.slow,
    )
    for number, (plan, model) in enumerate(itertools.product(PLANS, CONFIGS))
]  # fmt: skip


def simulate(config: ModelConfig, *arguments: Any, **settings: Any) -> Simulation:
    """Simulate a step of the task whose models have such a config."""
    (task,) = (find_task(name) for name in TASKS if find_task(name).details.model_type is type(config))
    return simulate_step(task, config, *arguments, **settings)


@pytest.mark.parametrize(("model", "plan", "precision", "batch"), CASES)
def test_the_paper_agrees_with_the_real_step(
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
def test_the_paper_agrees_where_three_ranks_share_an_image(model: str, plan: str) -> None:
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


def test_forward_operations_are_those_that_info_states() -> None:
    """A plain step is the forward pass, twice that for the products backward, and 2.5 times for attention."""
    config = classifier_preset("base", 3, 100)
    paper = estimate_step(Training(config=config, groups=100), ExecutionPlan())
    stated = encoder_flops(config, 100)
    products = sum(count for (place, kind), count in paper.flops.items() if kind == "product" and place != "head")
    attention = paper.flops["local", "attention"] + paper.flops["global", "attention"]
    cross = paper.flops["cross", "attention"]
    assert attention == 3.5 * (stated.local_attention + stated.mix_attention)
    # Pixels want no gradient.
    assert products == 3 * (stated.total - stated.local_attention - stated.mix_attention - cross / 3.5) - stated.stem


def test_plans_stay_within_budgets_and_more_memory_never_costs_more() -> None:
    work = Training(config=classifier_preset("base", 3, 100), groups=625, precision="bf16")
    choices = [choose(work, int(gib * GIB)) for gib in (40, 24, 16, 12, 8, 4, 3.2, 2.9)]
    for gib, choice in zip((40, 24, 16, 12, 8, 4, 3.2, 2.9), choices, strict=True):
        assert choice.estimate.needed_bytes <= gib * GIB
    extra = [choice.extra for choice in choices]
    assert extra == sorted(extra)
    assert choices[0].plan.kind == "plain"
    assert choices[-1].plan.kind == "stream"


def test_a_budget_is_used() -> None:
    """Between all and nothing kept there is a dial."""
    work = Training(config=classifier_preset("base", 3, 100), groups=625, precision="bf16")
    choice = choose(work, 12 * GIB)
    assert 0.3 < choice.plan.keep < 0.9
    assert choice.estimate.needed_bytes > 0.9 * 12 * GIB


def test_too_little_memory_says_how_much_it_takes() -> None:
    work = Training(config=classifier_preset("base", 3, 100), groups=625, precision="bf16")
    with pytest.raises(FitError, match=r"113 M parameters takes at least 2\.\d+ GiB \(optimizer 861 MiB"):
        choose(work, GIB)


def test_what_comes_after_running_out_takes_far_less() -> None:
    work = Training(config=classifier_preset("base", 3, 100), groups=625, precision="bf16")
    first = choose(work, 16 * GIB)
    second = cheaper_choice(work, first)
    assert second is not None
    assert second.estimate.needed_bytes <= 0.75 * first.estimate.needed_bytes
    smallest = choose(work, int(2.75 * GIB))
    assert cheaper_choice(work, smallest) is None


def test_tokens_rest_on_disk_where_the_host_is_too_small() -> None:
    work = Training(config=classifier_preset("base", 3, 100), groups=625, precision="bf16")
    assert choose(work, 3 * GIB).plan.store == "host"
    assert choose(work, 3 * GIB, away_bytes=1 << 20).plan.store == "disk"


@pytest.mark.parametrize("name", ["plain", "recompute", "stream"])
def test_the_largest_image_is_the_largest(name: str) -> None:
    work = Training(config=classifier_preset("tiny", 3, 10), groups=1, precision="bf16")
    plan = named_plans(work)[name]
    side = largest_side(work, plan, 2 * GIB)

    def needed(side: int) -> int:
        return evaluate_plan(replace(work, groups=side * side), plan).estimate.needed_bytes

    assert needed(side) <= 2 * GIB < needed(side + 1)


@pytest.mark.parametrize("answer", range(18))
def test_largest_finds_every_answer(answer: int) -> None:
    assert largest(lambda number: number <= answer, 17) == answer


def test_base_at_6400_trains_in_three_gigabytes() -> None:
    """About 100 M parameters at 160,000 tokens: weights, gradients, AdamW and all; FIT, section 4.1, needs 16 GB."""
    config = classifier_preset("base", 3, 100)
    work = Training(config=config, groups=625, precision="bf16")
    choice = evaluate_plan(work, named_plans(work)["recompute all"])
    assert 100e6 < parameter_count(config) < 120e6
    assert choice.estimate.peak_bytes <= 3 * GIB
    assert choice.extra < 0.31


def test_a_buffer_lives_as_long_as_something_holds_it() -> None:
    ledger = Ledger()
    first = ledger.take("a", 100)
    second = ledger.take("b", 10)
    del first
    third = ledger.take("c", 50)
    assert (ledger.peak, ledger.at_peak) == (110, {"a": 100, "b": 10})
    del second, third
    assert ledger.take("d", 110).size == 110
    assert ledger.peak == 110


def test_what_is_repeated_counts_as_often() -> None:
    ledger = Ledger()
    with ledger.repeated(7):
        kept = ledger.take("kept", 10)
        shared = ledger.take("shared", 1, shared=True)
    ledger.take("", 0)
    assert ledger.at_peak == {"kept": 70, "shared": 1}
    del kept, shared


def test_gradients_flow_back_once() -> None:
    """A diamond: both ways to the leaf, one gradient."""
    ledger = Ledger()
    leaf = Value(ledger.take("x", 1), Node(ledger))
    calls = []

    def operation(name: str, *inputs: Value) -> Value:
        def rule(gradients: Any) -> list[Any]:
            calls.append(name)
            return [ledger.take("gradient", 1) for _ in inputs]

        return Value(ledger.take("value", 1), Node(ledger, inputs, rule))

    left, right = operation("left", leaf), operation("right", leaf)
    root = operation("root", left, right)
    leaves = backward([(root, ledger.take("gradient", 1))])
    assert calls == ["root", "right", "left"]
    assert list(leaves) == [leaf.node]
