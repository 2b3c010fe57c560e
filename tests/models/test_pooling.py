"""Test the pooling head against loops over images, targets, heads and latents in float64."""

from __future__ import annotations

import math

import pytest
import torch
from support.batches import whole_and_ragged
from torch import Tensor

from fitcli.patches.cutting import groups_of
from fitcli.patches.grid import PatchGrid
from models.groups import Groups
from models.pooling import AttentionPool, Pooled

WIDTH, HEADS, LATENTS = 8, 2, 3


def random_head(targets: tuple[int, ...]) -> AttentionPool:
    """Return a head with random float64 parameters."""
    head = AttentionPool(WIDTH, HEADS, targets).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return head.requires_grad_(False)


def pool_by_loops(head: AttentionPool, latents: Tensor) -> tuple[list[float], Tensor]:
    """Return logits and evidence [latents targets] for the latents [latents width] of one image."""
    sharpness = 0.5 * math.log(len(latents))
    gated = torch.stack(
        [
            torch.tanh(head.signal.weight @ z + head.signal.bias)
            / (1 + torch.exp(-(head.gate.weight @ z + head.gate.bias)))
            for z in latents
        ]
    )
    values = torch.stack([head.value.weight @ z + head.value.bias for z in latents])
    logits, evidence = [], latents.new_zeros(len(latents), len(head.targets))
    for target, classes in enumerate(head.targets):
        pooled = latents.new_zeros(WIDTH)
        for number in range(HEADS):
            row, part = target * HEADS + number, slice(number * WIDTH // HEADS, (number + 1) * WIDTH // HEADS)
            scores = [math.exp(sharpness * float(head.score.weight[row] @ x + head.score.bias[row])) for x in gated]
            for index, score in enumerate(scores):
                pooled[part] += score / sum(scores) * values[index, part]
                evidence[index, target] += score / sum(scores) / HEADS
        normed = (pooled - pooled.mean()) / (pooled.var(correction=0) + 1e-6).sqrt()
        normed = normed * head.norm.weight + head.norm.bias
        first = sum(head.targets[:target])
        logits += [
            float(head.classify.weight[k] @ normed + head.classify.bias[k]) for k in range(first, first + classes)
        ]
    return logits, evidence


@pytest.mark.parametrize("groups", whole_and_ragged(), ids=["whole", "ragged"])
@pytest.mark.parametrize("targets", [(4,), (3, 2)])
def test_pooling_is_its_definition(targets: tuple[int, ...], groups: Groups) -> None:
    head, generator = random_head(targets), torch.Generator().manual_seed(0)
    latents = torch.randn(len(groups.number), LATENTS, WIDTH, generator=generator, dtype=torch.float64)
    pooled = head(latents, groups)
    start = 0
    for image, count in enumerate(groups.counts()):
        part = slice(start, start + count)
        logits, evidence = pool_by_loops(head, latents[part].flatten(0, 1))
        torch.testing.assert_close(pooled.logits[image], torch.tensor(logits, dtype=torch.float64))
        torch.testing.assert_close(pooled.evidence[part].flatten(0, 1), evidence)
        torch.testing.assert_close(evidence.sum(dim=0), torch.ones(len(targets), dtype=torch.float64))
        start += count


@torch.no_grad()
def test_a_latent_that_stands_out_keeps_its_weight_in_larger_images() -> None:
    """With a plain softmax its weight would be 0.69 among 10 latents and 0.02 among 1,000."""
    head = AttentionPool(WIDTH, 1, (2,)).double()
    latents = torch.zeros(1000, 1, WIDTH, dtype=torch.float64)
    latents[0] = torch.randn(WIDTH, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    lead = head.scores(latents[0]) - head.scores(latents[1])
    head.score.weight *= 3 / lead
    few, many = (float(head(latents[:count], Groups.of_grid(1, 1, count)).evidence[0]) for count in (10, 1000))
    assert 0.7 < few < many


def wide_scores(head: AttentionPool, latents: Tensor, groups: Groups, autocast: bool) -> Pooled:
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        pooled: Pooled = head(latents, groups)
    return pooled


@pytest.mark.parametrize("targets", [(10,), (3, 2)])
def test_scores_and_logits_are_not_rounded_to_bf16(targets: tuple[int, ...]) -> None:
    """Under autocast the heads of large images have scores far apart, whose shares rounding would change by a tenth."""
    torch.manual_seed(0)
    head, groups = AttentionPool(192, 4, targets), whole_groups(1600)
    with torch.no_grad():
        head.score.weight.mul_(8)
    latents = torch.randn(1600, 4, 192)
    with torch.inference_mode():
        exact, fast = (wide_scores(head, latents, groups, autocast) for autocast in (False, True))
    assert fast.logits.dtype == fast.evidence.dtype == torch.float32
    assert fast.evidence.sum().item() == pytest.approx(len(targets), abs=1e-5), "it was 1.0003"
    first, second = exact.evidence[..., 0].flatten(), fast.evidence[..., 0].flatten()
    largest = first.topk(100).indices
    off = (second[largest] / first[largest] - 1).abs()
    # In bf16 they were off by 0.032 on average; what is left comes from the gates.
    assert off.mean() < 0.02
    assert off.max() < 0.07


def test_classifying_is_exact_under_autocast() -> None:
    """Two classes whose logits differ by less than bf16 can tell are no tie."""
    head = AttentionPool(8, 2, (2,))
    with torch.no_grad():
        head.classify.weight.copy_(torch.ones(2, 8) * torch.tensor([[1.0], [1.001]]))
        head.classify.bias.fill_(8)
    pooled = torch.randn(1, 1, 8, generator=torch.Generator().manual_seed(1))
    with torch.autocast("cpu", torch.bfloat16):
        logits = head.logits(pooled)
    assert torch.equal(logits, head.logits(pooled))


def whole_groups(count: int) -> Groups:
    """Return `count` groups of one image in a row."""
    return groups_of(PatchGrid((128, 128 * count), 8, 16))
