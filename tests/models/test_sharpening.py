"""The factor of the pooling scores follows the curve, and every execution of the pool uses it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from models.checks import ConfigError
from models.contributions import contributions
from models.groups import Groups
from models.piecewise_latents import pool_piecewise
from models.pooling import AttentionPool
from models.sharpening import PLAIN, Sharpening

CURVE = Sharpening((8.0, 16.0, 64.0), (1.0, 1.5, 2.0))

WIDTH, LATENTS = 8, 2


def factor(count: float) -> float:
    return float(CURVE.sharpen(torch.ones(()), torch.tensor(count, dtype=torch.float64)))


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, 1), (3, 1), (8, 1), (8 * math.sqrt(2), 1.25), (16, 1.5), (32, 1.75), (64, 2), (1e9, 2)],
)
def test_the_factor_follows_the_logarithm_of_the_size_and_levels_off(count: float, expected: float) -> None:
    assert factor(count) == pytest.approx(expected, abs=1e-12)


def test_no_curve_leaves_the_very_scores() -> None:
    scores = torch.randn(3)
    assert PLAIN.sharpen(scores, torch.tensor(100.0)) is scores


@pytest.mark.parametrize(
    ("latents", "factors", "message"),
    [
        ((8.0,), (), "1 numbers of latents do not go with 0 factors"),
        ((8.0, 8.0), (1.0, 2.0), "ascend"),
        ((0.0, 8.0), (1.0, 2.0), "positive"),
        ((8.0, 9.0), (1.5, 2.0), "begin with 1"),
        ((8.0, 9.0, 10.0), (1.0, 2.0, 1.5), "do not fall"),
        ((8.0, math.inf), (1.0, 2.0), "finite"),
        ((8.0, 9.0), (1.0, math.nan), "finite"),
    ],
)
def test_what_is_no_curve_is_refused(latents: tuple[float, ...], factors: tuple[float, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Sharpening(latents, factors)


def random_head() -> AttentionPool:
    head = AttentionPool(WIDTH, 2, (3, 2)).double()
    generator = torch.Generator().manual_seed(1)
    for parameter in head.parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return head.requires_grad_(False)


def scaled(head: AttentionPool, groups: int) -> AttentionPool:
    """Return a head without a curve whose scores are those of a head with one, for images of so many groups."""
    other = random_head()
    other.score.weight.mul_(factor(groups * LATENTS))
    other.score.bias.mul_(factor(groups * LATENTS))
    return other


def sharp_head() -> AttentionPool:
    head = random_head()
    head.sharpening = CURVE
    return head


def random_latents(groups: int) -> Tensor:
    generator = torch.Generator().manual_seed(groups)
    return torch.randn(groups, LATENTS, WIDTH, generator=generator, dtype=torch.float64)


COUNTS = (3, 7, 20, 40)
"""Groups of images below, within and beyond the curve."""


def test_each_image_of_a_batch_has_the_factor_of_its_size() -> None:
    head, latents = sharp_head(), [random_latents(count) for count in COUNTS]
    batch = head(torch.cat(latents), Groups.join([Groups.of_grid(1, 1, count) for count in COUNTS]))
    for image, (count, own) in enumerate(zip(COUNTS, latents, strict=True)):
        expected = scaled(head, count)(own, Groups.of_grid(1, 1, count))
        torch.testing.assert_close(batch.logits[image], expected.logits[0])
        start = sum(COUNTS[:image])
        torch.testing.assert_close(batch.evidence[start : start + count], expected.evidence)


@pytest.mark.parametrize("count", COUNTS)
def test_pieces_and_contributions_have_the_factor(count: int) -> None:
    head, latents, groups = sharp_head(), random_latents(count), Groups.of_grid(1, 1, count)
    expected = scaled(head, count)(latents, groups)
    for piece in (3, 8192):
        pooled = pool_piecewise(head, latents, groups, piece)
        torch.testing.assert_close(pooled.logits, expected.logits)
        torch.testing.assert_close(pooled.evidence, expected.evidence)
        parts = contributions(head, latents, 0, [2, 0], relative=False, piece=piece)
        torch.testing.assert_close(parts.values.sum(dim=(0, 1)) + parts.bias, expected.logits[0, [2, 0]])


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_that_share_an_image_count_all_of_it(ranks: int) -> None:
    """On one rank alone the factor would be that of its own groups."""
    head, latents, groups = sharp_head(), random_latents(20), Groups.of_grid(1, 1, 20)
    expected = head(latents, groups)
    numbers = [groups.share_of(rank, ranks, torch.clone).number for rank in range(ranks)]
    longest = max(map(len, numbers))

    # A rank gathers the scores of all, then sums what all pooled. The stand-in gives the first, and keeps the second.
    scores = head.scores(latents)
    padded = torch.stack(
        [torch.cat([scores[own], scores.new_zeros(longest - len(own), *scores.shape[1:])]) for own in numbers]
    )
    pooled = []
    for rank, own in enumerate(numbers):
        calls: list[Tensor] = []

        def gather(values: Tensor, calls: list[Tensor] = calls) -> Tensor:
            calls.append(values)
            return padded[:, None] if len(calls) == 1 else values[None]

        result = head(latents[own], groups.share_of(rank, ranks, gather))
        torch.testing.assert_close(result.evidence, expected.evidence[own])
        pooled.append(calls[1])
    torch.testing.assert_close(head.logits(torch.stack(pooled).sum(dim=0)), expected.logits)
