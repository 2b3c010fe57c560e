"""A step computes real patches alone, and no attention has a mask: for every execution, batch and kind of image."""

from __future__ import annotations

from typing import Any

import pytest
from support.ranks import run_on_all
from support.steps import CONFIGS, PLANS, Step
from torch import Tensor, nn

from fitcli.execution.plan import ExecutionPlan
from fitcli.execution.run import run_job
from fitcli.patches.cutting import groups_of
from fitcli.patches.grid import PatchGrid
from models import attention
from models.groups import Gather

WITHOUT_ORDER = [name for name, config in CONFIGS.items() if config.causal == "none"]
EVERY_PLAN = {"plain": ExecutionPlan(), **PLANS}


@pytest.fixture
def masks(monkeypatch: pytest.MonkeyPatch) -> list[Tensor | None]:
    """Masks of the calls of attention so far."""
    seen: list[Tensor | None] = []
    kernel = attention.F.scaled_dot_product_attention

    def recorded(*arguments: Any, attn_mask: Tensor | None = None, **named: Any) -> Tensor:
        seen.append(attn_mask)
        return kernel(*arguments, attn_mask=attn_mask, **named)

    monkeypatch.setattr(attention.F, "scaled_dot_product_attention", recorded)
    return seen


@pytest.mark.walk(2)
@pytest.mark.parametrize("name", WITHOUT_ORDER)
def test_no_attention_has_a_mask(name: str, masks: list[Tensor | None]) -> None:
    for kind in ("ragged", "one group"):
        for plan in EVERY_PLAN.values():
            run_job(Step(CONFIGS[name], kind).job(), plan)
    assert masks
    assert all(mask is None for mask in masks)


def test_nor_if_ranks_share_the_images(masks: list[Tensor | None]) -> None:
    step = Step(CONFIGS["classifier"], "ragged")

    def work(rank: int, gather: Gather) -> None:
        run_job(step.share(rank, 3, gather).job(), EVERY_PLAN["half kept"])

    run_on_all(3, work)
    assert masks
    assert all(mask is None for mask in masks)


@pytest.mark.walk
@pytest.mark.parametrize("plan", EVERY_PLAN)
@pytest.mark.parametrize("name", CONFIGS)
def test_local_layers_run_over_real_tokens_alone(name: str, plan: str) -> None:
    """Each layer runs over all tokens once, and at most once more in a replay."""
    step = Step(CONFIGS[name], "ragged")
    layers, seen = local_layers(step), 0

    def count(layer: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        nonlocal seen
        seen += arguments[0].shape[0] * arguments[0].shape[1]

    for layer in layers:
        layer.register_forward_pre_hook(count)
    run_job(step.job(), EVERY_PLAN[plan])
    once = len(layers) * step.groups.count_real_tokens(4)
    assert once < len(layers) * 4 * len(step.groups.number), "the batch has padding"
    times = {"plain": (1, 1), "all replayed": (2, 2)}.get(plan, (1, 2))
    assert times[0] * once <= seen <= times[1] * once


def local_layers(step: Step) -> list[nn.Module]:
    trunk = step.model.encoder.trunk if hasattr(step.model, "encoder") else step.model.trunk
    return [layer for segment in trunk.segments for layer in segment.local]


def test_an_image_has_at_most_four_shapes() -> None:
    counts = set()
    for height in range(1, 26):
        for width in range(1, 26):
            groups = groups_of(PatchGrid((height, width), 2, 4))
            counts.add(len(groups.real_tokens().shapes))
    assert counts == {0, 1, 2, 3, 4}
