"""Test piecewise layers and pooling against the whole at once: equal values, in place, in little workspace."""

from __future__ import annotations

import pytest
import torch
from support.batches import CONFIGS, live
from support.operations import Operations
from support.ranks import run_on_all
from torch import Tensor, nn

from models.groups import Gather, Groups
from models.images import Present, SharedImages
from models.layers import CrossAttentionLayer, SelfAttentionLayer
from models.masks import group_causal_mask
from models.piecewise_latents import apply_piecewise, normalize_piecewise, pool_piecewise

WIDTH, COUNT, PIECE = 12, 17, 5


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


MASKS = {
    "none": None,
    "queries and keys": group_causal_mask(COUNT, 2),
}


@pytest.mark.parametrize("mask", MASKS)
@torch.no_grad()
def test_self_attention_in_pieces_is_the_same(mask: str) -> None:
    layer, x = SelfAttentionLayer(WIDTH, heads=3, ratio=2).double(), random(2, COUNT, WIDTH)
    expected = layer(x, MASKS[mask])
    result = apply_piecewise(layer, x, MASKS[mask], piece=PIECE)
    assert result is x
    torch.testing.assert_close(result, expected)


@pytest.mark.parametrize("lengths", [(7, 7), (7, 5), (7, 0)])
@torch.no_grad()
def test_ranks_that_share_the_latents_attend_to_all_of_them(lengths: tuple[int, ...]) -> None:
    """In pieces and at once; the parts of the ranks are padded to the longest."""
    layer, x = SelfAttentionLayer(WIDTH, heads=3, ratio=2).double(), random(1, sum(lengths), WIDTH)
    expected = torch.split(layer(x), list(lengths), dim=1)
    parts = [nn.functional.pad(part, (0, 0, 0, 7 - part.shape[1])) for part in torch.split(x, list(lengths), dim=1)]

    def work(rank: int, gather: Gather) -> list[Tensor]:
        visible = None if len(set(lengths)) == 1 else SharedImages((Present.of(lengths, rank),))
        arguments = (parts[rank].clone(), visible, False, lambda values: gather(values).transpose(0, 1).flatten(1, 2))
        with torch.no_grad():
            return [apply_piecewise(layer, *arguments, piece=piece) for piece in (100, PIECE)]

    results, _ = run_on_all(len(lengths), work)
    for part, results_of_rank in zip(expected, results, strict=True):
        for result in results_of_rank:
            torch.testing.assert_close(result[:, : part.shape[1]], part)


@torch.no_grad()
def test_layers_without_attention_and_cross_attention_are_the_same() -> None:
    feed_forward = SelfAttentionLayer(WIDTH, heads=3, ratio=2, attention=False).double()
    cross = CrossAttentionLayer(WIDTH, 8, heads=3, head_width=4, norm_source=True).double()
    for layer, arguments in [(feed_forward, ()), (cross, (random(2, 3, 8, seed=1),))]:
        x = random(2, COUNT, WIDTH)
        expected = layer(x, *arguments)
        result = apply_piecewise(layer, x, *arguments, piece=PIECE)
        assert result is x
        torch.testing.assert_close(result, expected)


@torch.no_grad()
def test_few_latents_are_left_as_they_are() -> None:
    layer, x = SelfAttentionLayer(WIDTH, heads=3, ratio=2).double(), random(2, 5, WIDTH)
    before = x.clone()
    assert torch.equal(apply_piecewise(layer, x, piece=PIECE), layer(before))
    assert torch.equal(x, before)


@torch.no_grad()
def test_no_tensor_is_larger_than_keys_and_values() -> None:
    """The hidden values of the whole feed-forward layer are twice as large."""
    layer, x = SelfAttentionLayer(WIDTH, heads=3, ratio=4), random(1, 20 * COUNT, WIDTH).float()
    with Operations() as counted:
        apply_piecewise(layer, x, piece=PIECE)
    assert counted.largest == 2 * x.numel()
    with Operations() as counted:
        layer(x)
    assert counted.largest == 4 * x.numel()


def test_other_layers_are_refused() -> None:
    with pytest.raises(TypeError, match="Linear"):
        apply_piecewise(nn.Linear(WIDTH, WIDTH).double(), random(2, COUNT, WIDTH), piece=PIECE)


@torch.no_grad()
def test_normalising_in_pieces_is_the_same() -> None:
    norm, latents = nn.LayerNorm(WIDTH).double(), random(9, 2, WIDTH)
    expected = norm(latents)
    result = normalize_piecewise(norm, latents, PIECE)
    assert result is latents
    torch.testing.assert_close(result, expected)


@pytest.mark.parametrize("name", ["classifier", "classifier of two targets"])
def test_pooling_in_pieces_is_the_same(name: str) -> None:
    head, groups = live(CONFIGS[name]).head, Groups.of_grid(images=1, rows=3, columns=3)
    latents = random(9, 2, CONFIGS[name].latent_width)
    for value, expected in zip(pool_piecewise(head, latents, groups, PIECE), head(latents, groups), strict=True):
        torch.testing.assert_close(value, expected)
