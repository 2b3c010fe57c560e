"""Attention image by image is that with a mask which hides other images and padding."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models import causal_strips
from models.attention import dot_product_attention
from models.causal_strips import CausalStrips
from models.images import Images, Present, SharedImages, attend
from models.masks import group_causal_mask

COUNTS = ((3, 3, 2), (2, 1, 1), (1, 0, 0))
"""Numbers of groups, of two latents each, of three images on three ranks."""


def tensors(*shapes: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_() for shape in shapes]


def strips_of(causal: bool, count: int, own: int) -> CausalStrips | None:
    return CausalStrips.of(count, own, 2, torch.zeros(0, dtype=torch.float64)) if causal else None


@pytest.mark.parametrize("causal", [False, True])
def test_images_in_one_sequence_do_not_see_each_other(causal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(causal_strips, "STRIP", 4)
    lengths = (10, 2, 6)
    image = torch.arange(3).repeat_interleave(torch.tensor(lengths))
    mask = image[:, None] == image
    if causal:
        mask = mask & group_causal_mask(18, 2)
    inputs = tensors(*[(1, 3, 18, 5)] * 3)
    results = [
        Images(lengths, strips_of(causal, 10, 10)).attend(*inputs),
        dot_product_attention(inputs[0], inputs[1], inputs[2], mask),
    ]
    torch.testing.assert_close(*results, rtol=0, atol=1e-12)
    for one, other in zip(*(torch.autograd.grad(result.square().sum(), inputs) for result in results), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("rank", [0, 1, 2])
def test_padding_between_the_latents_of_ranks_is_not_seen(
    rank: int, causal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three ranks have room for three groups each, and the images have eight, four and one."""
    monkeypatch.setattr(causal_strips, "STRIP", 4)
    keys = tuple(Present.of((2 * count for count in each), rank) for each in COUNTS)
    query, key, value = tensors((3, 3, 6, 5), *[(3, 3, 18, 5)] * 2)
    result = attend(query, key, value, SharedImages(keys, strips_of(causal, 18, 6)))
    assert result.isfinite().all()
    there = torch.stack([torch.cat([torch.arange(6) < 2 * count for count in each]) for each in COUNTS])
    mask = there[:, None, None]
    if causal:
        mask = mask & group_causal_mask(18, 2, rows=slice(6 * rank, 6 * rank + 6))
    expected = dot_product_attention(query, key, value, mask)
    for image, each in enumerate(COUNTS):
        own = slice(0, 2 * each[rank])
        torch.testing.assert_close(result[image, :, own], expected[image, :, own], rtol=0, atol=1e-12)
