"""Test attention and feed-forward layers against loops over heads and positions in float64."""

from __future__ import annotations

import math
from typing import TypeVar

import pytest
import torch
from torch import Tensor, nn

from models.cache import KeyValues
from models.layers import CrossAttention, CrossAttentionLayer, FeedForward, SelfAttention, SelfAttentionLayer, Stack
from models.masks import causal_mask, group_causal_mask

WIDTH, SOURCE_WIDTH, HEADS, HEAD_WIDTH = 10, 7, 3, 3
"""Widths of both sequences, and heads, which do not divide the first width: a head is 10 // 3 wide."""

COUNT = 6

M = TypeVar("M", bound=nn.Module)


def random(module: M) -> M:
    """Give a module random float64 parameters, because biases of 0 and scales of 1 would hide mistakes."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.double().parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return module.requires_grad_(False)


def sequences(count: int, width: int, seed: int = 0) -> Tensor:
    return torch.randn(2, count, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def project(linear: nn.Linear, x: Tensor, start: int) -> Tensor:
    """Apply the part of a fused projection that begins at row `start`: [b t width] -> [b t h e]."""
    rows = slice(start, start + HEADS * HEAD_WIDTH)
    return (x @ linear.weight[rows].T + linear.bias[rows]).unflatten(-1, (HEADS, HEAD_WIDTH))


def loops(query: Tensor, key: Tensor, value: Tensor, allowed: Tensor) -> tuple[Tensor, Tensor]:
    """Attend with one query and head at a time.

    Returns:
        Attended values [b t (h e)], and weights [b t u] averaged over the heads.
    """
    batch, count = query.shape[:2]
    attended, weights = query.new_zeros(query.shape), query.new_zeros(batch, count, key.shape[1])
    for b in range(batch):
        for t in range(count):
            for h in range(HEADS):
                keys = [u for u in range(key.shape[1]) if allowed[t, u]]
                scores = [math.exp(float(query[b, t, h] @ key[b, u, h]) / math.sqrt(HEAD_WIDTH)) for u in keys]
                for u, score in zip(keys, scores, strict=True):
                    attended[b, t, h] += score / sum(scores) * value[b, u, h]
                    weights[b, t, u] += score / sum(scores) / HEADS
    return attended.flatten(2), weights


def attend_by_loops(attention: SelfAttention, x: Tensor, allowed: Tensor) -> Tensor:
    query, key, value = (project(attention.query_key_value, x, part * HEADS * HEAD_WIDTH) for part in range(3))
    return loops(query, key, value, allowed)[0] @ attention.out.weight.T + attention.out.bias


@pytest.mark.parametrize(("masked", "causal"), [(False, False), (False, True), (True, False)])
def test_self_attention_is_its_definition(masked: bool, causal: bool) -> None:
    attention, x = random(SelfAttention(WIDTH, HEADS)), sequences(COUNT, WIDTH)
    mask = group_causal_mask(COUNT, 2).roll(1, dims=1) | torch.eye(COUNT, dtype=torch.bool) if masked else None
    allowed = torch.ones(COUNT, COUNT, dtype=torch.bool) if mask is None else mask
    expected = attend_by_loops(attention, x, allowed & causal_mask(COUNT) if causal else allowed)
    torch.testing.assert_close(attention(x, mask, causal), expected)


def test_a_part_of_a_sequence_attends_to_all_of_it() -> None:
    attention, x = random(SelfAttention(WIDTH, HEADS)), sequences(COUNT, WIDTH)
    expected = attend_by_loops(attention, x, torch.ones(COUNT, COUNT, dtype=torch.bool))
    torch.testing.assert_close(attention.across(x[:, 2:4], x), expected[:, 2:4])


def test_a_layer_gathers_the_parts_of_other_ranks_normalised() -> None:
    layer, x = random(SelfAttentionLayer(WIDTH, HEADS, ratio=2)), sequences(COUNT, WIDTH)
    assert layer.norm is not None
    whole, sent = layer.norm(x), []

    def gather(part: Tensor) -> Tensor:
        sent.append(part)
        return whole

    torch.testing.assert_close(layer(x[:, 2:4], None, False, gather), layer(x)[:, 2:4])
    torch.testing.assert_close(sent[0], whole[:, 2:4])


@pytest.mark.parametrize("size", [1, 2, 3])
def test_extending_a_sequence_gives_what_the_whole_gives(size: int) -> None:
    """New positions see each other and everything before them."""
    layer, x = random(SelfAttentionLayer(WIDTH, HEADS, ratio=2)), sequences(COUNT, WIDTH)
    cache = KeyValues(2, HEADS, COUNT, HEAD_WIDTH, x)
    extended = torch.cat([layer.extend(part, cache) for part in x.split(size, dim=1)], dim=1)
    torch.testing.assert_close(extended, layer(x, group_causal_mask(COUNT, size)))


def test_cross_attention_and_its_weights_are_their_definition() -> None:
    attention = random(CrossAttention(WIDTH, SOURCE_WIDTH, HEADS, HEAD_WIDTH))
    x, source = sequences(COUNT, WIDTH), sequences(4, SOURCE_WIDTH, seed=1)
    query = project(attention.query, x, 0)
    key, value = (project(attention.key_value, source, start) for start in (0, HEADS * HEAD_WIDTH))
    attended, weights = loops(query, key, value, torch.ones(COUNT, 4, dtype=torch.bool))
    expected = attended @ attention.out.weight.T + attention.out.bias
    torch.testing.assert_close(attention(x, source), expected)
    torch.testing.assert_close(attention.weights(x, source), weights)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, COUNT, dtype=torch.float64))


@pytest.mark.parametrize("norm_source", [False, True])
@pytest.mark.parametrize("ratio", [None, 2])
def test_a_layer_reads_keys_and_values_made_before(norm_source: bool, ratio: int | None) -> None:
    layer = random(CrossAttentionLayer(WIDTH, SOURCE_WIDTH, HEADS, HEAD_WIDTH, norm_source, ratio))
    x, source = sequences(COUNT, WIDTH), sequences(4, SOURCE_WIDTH, seed=1)
    torch.testing.assert_close(layer.attend(x, *layer.keys_values(source)), layer(x, source))


def test_feed_forward_is_its_definition() -> None:
    layer, x = random(FeedForward(WIDTH, ratio=2)), sequences(COUNT, WIDTH)
    normed = (x - x.mean(-1, keepdim=True)) / (x.var(-1, correction=0, keepdim=True) + 1e-6).sqrt()
    hidden = (normed * layer.norm.weight + layer.norm.bias) @ layer.up.weight.T + layer.up.bias
    active = hidden * (1 + torch.erf(hidden / math.sqrt(2))) / 2
    torch.testing.assert_close(layer(x), x + active @ layer.down.weight.T + layer.down.bias)


def test_a_stack_without_layers_is_the_identity() -> None:
    x = sequences(COUNT, WIDTH)
    assert Stack(0, WIDTH, HEADS, ratio=2)(x) is x
