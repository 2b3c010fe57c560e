"""Attention in causal strips is that with the whole mask, in every driver, and its memory is linear in the latents."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.operations import Operations
from support.steps import CONFIGS, PLANS, Step, assert_same_gradients
from torch import Tensor

from fitcli.execution.plan import ExecutionPlan
from fitcli.execution.run import run_job
from models import causal_strips
from models.attention import dot_product_attention
from models.causal_strips import CausalStrips
from models.layers import SelfAttentionLayer
from models.masks import group_causal_mask
from models.piecewise_latents import apply_piecewise

CAUSAL = [name for name, config in CONFIGS.items() if config.causal != "none"]


def tensors(t: int, u: int, images: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(t + u)
    query, key, value = (torch.randn(images, 3, n, 5, generator=generator, dtype=torch.float64) for n in (t, u, u))
    return query.requires_grad_(), key.requires_grad_(), value.requires_grad_()


def assert_equal_attention(strips: CausalStrips, inputs: tuple[Tensor, Tensor, Tensor], mask: Tensor) -> None:
    """Compare values and gradients."""
    results = [strips.attend(*inputs), dot_product_attention(*inputs, mask)]
    torch.testing.assert_close(*results, rtol=0, atol=1e-12)
    weight = torch.randn_like(results[0])
    for one, other in zip(*(torch.autograd.grad(result, inputs, weight) for result in results), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize("strip", [1, 4, 7, 100])
@pytest.mark.parametrize(("groups", "run"), [(1, 1), (1, 3), (9, 1), (8, 3), (5, 4)])
def test_strips_are_the_whole_mask(groups: int, run: int, strip: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(causal_strips, "STRIP", strip)
    count = groups * run
    strips = CausalStrips.of(count, count, run, torch.zeros(0, dtype=torch.float64))
    assert len(strips.mask) == min(count, max(1, strip // run) * run)
    assert_equal_attention(strips, tensors(count, count), group_causal_mask(count, run))


@pytest.mark.parametrize("first", [0, 1, 4])
def test_queries_in_the_middle(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three groups of nine, which begin at group `first`: the share of a rank, or a piece of the latents."""
    monkeypatch.setattr(causal_strips, "STRIP", 4)
    strips = CausalStrips.of(18, 6, 2, torch.zeros(0, dtype=torch.float64)).at(2 * first)
    rows = slice(2 * first, 2 * first + 6)
    assert_equal_attention(strips, tensors(6, 18), group_causal_mask(18, 2, rows=rows))


@pytest.mark.walk(4)
@pytest.mark.parametrize("kind", ["whole", "ragged"])
@pytest.mark.parametrize("name", CAUSAL)
def test_every_execution_in_strips_is_the_step_with_one_mask(
    name: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Step(CONFIGS[name], kind)
    loss = step.plain()
    loss.backward()
    expected = step.gradients()
    monkeypatch.setattr(causal_strips, "STRIP", 4)
    for plan_name, plan in {"plain": ExecutionPlan(), **PLANS}.items():
        outcome = run_job(step.job(), plan)
        assert abs(outcome.loss / loss.detach() - 1) < 1e-12, plan_name
        assert_same_gradients(step.gradients(), expected, 1e-9)


@pytest.mark.parametrize("piece", [5, 6, 12])
@torch.no_grad()
def test_pieces_of_whole_groups(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(causal_strips, "STRIP", 4)
    layer = SelfAttentionLayer(12, heads=3, ratio=2).double()
    x = torch.randn(1, 21, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    strips = CausalStrips.of(21, 21, 3, x[:0])
    expected = layer(x, group_causal_mask(21, 3))
    torch.testing.assert_close(apply_piecewise(layer, x, strips, piece=piece), expected, rtol=0, atol=1e-9)


def test_no_mask_over_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """With four times the latents, the largest tensor of a step is four times as large."""
    monkeypatch.setattr(causal_strips, "STRIP", 8)
    sizes: list[Any] = []
    for groups in (32, 128):
        with Operations() as counted:
            query, key, value = (torch.randn(1, 1, 2 * groups, 4, requires_grad=True) for _ in range(3))
            strips = CausalStrips.of(2 * groups, 2 * groups, 2, query)
            strips.attend(query, key, value).sum().backward()
        sizes.append(counted.largest)
    assert sizes == [8 * 2 * 32, 8 * 2 * 128], "the mask of a strip"
