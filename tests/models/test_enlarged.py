"""An image that is enlarged in the pool is answered like one with copies of its ground."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models.enlarged import enlarged_logits
from models.groups import Groups
from models.pooling import AttentionPool
from models.sharpening import Sharpening

WIDTH = 8


def random_head(heads: int, targets: tuple[int, ...]) -> AttentionPool:
    head = AttentionPool(WIDTH, heads, targets).double()
    generator = torch.Generator().manual_seed(1)
    for parameter in head.parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return head.requires_grad_(False)


def random_latents(groups: int, latents: int = 1) -> Tensor:
    return torch.randn(groups, latents, WIDTH, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


@pytest.mark.parametrize("factor", [1.0, 1.5])
def test_the_larger_image_has_copies_of_what_has_little_weight(factor: float) -> None:
    head, latents, times = random_head(1, (3,)), random_latents(12), 3
    weights = head(latents, Groups.of_grid(1, 1, 12)).evidence.flatten()
    rare = weights < 1 / 12
    assert int(rare.sum()) == 8
    larger = torch.cat([latents, *[latents[rare]] * 3])
    assert len(larger) == 12 * times
    if factor > 1:
        head.sharpening = Sharpening((12.0, 36.0), (1.0, factor))
    expected = head(larger, Groups.of_grid(1, 1, len(larger))).logits[0]
    torch.testing.assert_close(enlarged_logits(head, latents, [times], [factor])[0, 0], expected)


@pytest.mark.parametrize("targets", [(4,), (3, 2)])
def test_an_image_of_its_own_size_keeps_its_answer(targets: tuple[int, ...]) -> None:
    head, latents = random_head(2, targets), random_latents(7, 3)
    plain = head(latents, Groups.of_grid(1, 1, 7)).logits[0]
    # A curve of the head is that of an earlier measurement, and does not count.
    head.sharpening = Sharpening((2.0, 4.0), (1.0, 3.0))
    logits = enlarged_logits(head, latents, [1, 4], [1, 2])
    assert logits.shape == (2, 2, sum(targets))
    torch.testing.assert_close(logits[0, 0], plain)
    assert not torch.allclose(logits[1, 0], plain)
    assert not torch.allclose(logits[0, 1], plain)
    torch.testing.assert_close(enlarged_logits(head, latents, [1, 4], [1, 2], piece=4), logits)


def test_half_precision_of_the_caller_changes_nothing() -> None:
    head, latents = random_head(2, (3,)).float(), random_latents(7).float()
    expected = enlarged_logits(head, latents, [8], [1, 2])
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(enlarged_logits(head, latents, [8], [1, 2]), expected)


@pytest.mark.parametrize("groups", [0, 1])
def test_images_of_hardly_any_latents_are_finite(groups: int) -> None:
    assert torch.isfinite(enlarged_logits(random_head(2, (3,)), random_latents(groups), [1, 256], [1, 3])).all()
