"""The overlapping head is a weighted mean of the predictions that reach a pixel, group by group."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.batches import denoiser_config, grid, inputs_for, join, live
from torch import Tensor

from fitcli.patches.cutting import groups_of
from models.groups import Groups
from models.output_head import OverlapHead, window

GROUP, CHANNELS = 3, 2


def head_of(patch: int) -> OverlapHead:
    values = CHANNELS * patch**2
    config = denoiser_config(tokens=GROUP**2, values=values, out_values=values, output_patch=patch)
    head: OverlapHead = live(config).out
    return head.requires_grad_(True)


def masks() -> Tensor:
    """Return masks [g n] of a whole group, groups at the right and the lower edge, and one with a single patch."""
    mask = torch.zeros(4, GROUP, GROUP, dtype=torch.bool)
    mask[0], mask[1, :, :2], mask[2, :1], mask[3, 0, 0] = True, True, True, True
    return mask.flatten(1)


def groups(mask: Tensor | None) -> Groups:
    return Groups.of_grid(1, 2, 2)._replace(mask=mask)


def one_pixel_after_the_other(head: OverlapHead, tokens: Tensor, mask: Tensor) -> Tensor:
    """Return the patches [g n p] of tokens [g n c], by the definition."""
    patch, margin = head.patch, head.margin
    wide, whole = patch + 2 * margin, GROUP * patch
    side = window(patch, margin, tokens)
    result = []
    for group in range(len(tokens)):
        total = torch.zeros(whole, whole, CHANNELS, dtype=tokens.dtype)
        weights = torch.zeros(whole, whole, 1, dtype=tokens.dtype)
        for number in range(GROUP**2):
            if not mask[group, number]:
                continue
            values = head.project(tokens[group, number]).reshape(wide, wide, CHANNELS)
            top, left = (place * patch - margin for place in divmod(number, GROUP))
            for y in range(max(top, 0), min(top + wide, whole)):
                for x in range(max(left, 0), min(left + wide, whole)):
                    weight = side[y - top] * side[x - left]
                    place = torch.zeros(whole, whole, 1, dtype=tokens.dtype)
                    place[y, x] = weight
                    total, weights = total + place * values[y - top, x - left], weights + place
        mean = total / torch.where(weights == 0, 1, weights)
        patches = mean.reshape(GROUP, patch, GROUP, patch, CHANNELS).transpose(1, 2).reshape(GROUP**2, -1)
        result.append(patches * mask[group, :, None])
    return torch.stack(result)


@pytest.mark.parametrize("patch", [2, 3, 4])
@pytest.mark.parametrize("padded", [False, True])
def test_equal_to_the_definition_with_its_gradients(patch: int, padded: bool) -> None:
    head, mask = head_of(patch), masks() if padded else torch.ones(4, GROUP**2, dtype=torch.bool)
    generator = torch.Generator().manual_seed(patch)
    tokens = torch.randn(4, GROUP**2, 16, generator=generator, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(4, GROUP**2, CHANNELS * patch**2, generator=generator, dtype=torch.float64)
    real = groups(mask if padded else None).real_tokens()
    found = real.unpack(head(real.pack(tokens), real))
    expected = one_pixel_after_the_other(head, tokens, mask)
    assert (found - expected).abs().max() < 1e-12
    inputs = [tokens, *head.parameters()]
    gradients = [torch.autograd.grad((values * weights).sum(), inputs) for values in (found, expected)]
    for one, other in zip(*gradients, strict=True):
        assert (one - other).abs().max() < 1e-10


@pytest.mark.parametrize("patch", [2, 3, 8])
def test_windows_of_neighbours_sum_to_one(patch: int) -> None:
    side, margin = window(patch, patch // 2, torch.zeros((), dtype=torch.float64)), patch // 2
    assert torch.equal(side, side.flip(0))
    assert (side > 0).all()
    torch.testing.assert_close(side[: 2 * margin] + side[patch:], torch.ones_like(side[: 2 * margin]))
    assert (side[2 * margin : patch] == 1).all()


def test_weights_sum_to_one_at_every_pixel_of_every_group() -> None:
    """Tokens that all predict the same value give that value, also at the borders of groups and beside padding."""
    head, mask = head_of(4), masks()
    with torch.no_grad():
        head.project.weight.zero_()
        head.project.bias.fill_(0.7)
    real = groups(mask).real_tokens()
    patches = real.unpack(head(real.pack(torch.zeros(4, GROUP**2, 16, dtype=torch.float64)), real))
    torch.testing.assert_close(patches[mask], torch.full_like(patches[mask], 0.7))
    assert (patches[~mask] == 0).all()


def test_a_token_reaches_half_a_patch_beyond_its_own_and_no_other_group() -> None:
    head = head_of(4)
    tokens = torch.zeros(2, GROUP**2, 16, dtype=torch.float64)
    base = head(tokens, groups(None).real_tokens())
    tokens[0, GROUP**2 // 2] = 1
    changed = (head(tokens, groups(None).real_tokens()) - base).abs()
    pixels = changed.reshape(2, GROUP, GROUP, 4, 4, CHANNELS).transpose(2, 3).reshape(2, 12, 12, CHANNELS).sum(-1)
    reached = (pixels[0] > 0).nonzero()
    assert (reached.min().item(), reached.max().item()) == (2, 9)
    assert (pixels[1] == 0).all()


def test_the_same_bits_whichever_groups_are_added_together() -> None:
    head, mask = head_of(4).float().requires_grad_(False), masks()
    values = torch.randn(4, GROUP**2, head.project.out_features, generator=torch.Generator().manual_seed(0))
    values, present = values * mask[..., None], mask[..., None].float()
    side = window(4, 2, values)
    whole = head.add(values, present, side)
    alone = [head.add(values[[i]], present[[i]], side) for i in range(4)]
    assert torch.equal(whole, torch.cat(alone))
    assert torch.equal(head.add(values[:1], torch.ones(1, GROUP**2, 1), side), whole[:1])


@pytest.mark.parametrize("changes", [{}, {"output_patch": 2}], ids=["linear", "overlap"])
def test_patches_of_padding_change_nothing(changes: dict[str, Any]) -> None:
    """Images with partial groups give, packed in one batch, what each gives alone; padding may hold anything."""
    model = live(denoiser_config(**changes))
    parts = [groups_of(grid(7, 5)), groups_of(grid(4, 8))]
    both = join(*parts)
    assert both.mask is not None
    patches, previous, level, condition = inputs_for(model.config, both)
    whole = model(patches, both, level, condition, previous).tokens
    noisy = torch.where(both.mask[..., None], patches, 1e6)
    assert torch.equal(model(noisy, both, level, condition, previous).tokens, whole)
    start = 0
    for number, part in enumerate(parts):
        own, image = slice(start, start + len(part.number)), slice(number, number + 1)
        alone = model(patches[own], part, level[image], condition[image], previous[own]).tokens
        assert (alone - whole[own]).abs().max() < 1e-12
        start = own.stop
