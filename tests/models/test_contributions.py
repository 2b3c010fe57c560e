"""The contributions of the latents add up to the logits, in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models.contributions import contributions
from models.groups import Groups
from models.pooling import AttentionPool

WIDTH, HEADS, LATENTS, GROUPS = 8, 2, 3, 7


def random_head(targets: tuple[int, ...]) -> AttentionPool:
    head = AttentionPool(WIDTH, HEADS, targets).double()
    generator = torch.Generator().manual_seed(1)
    for parameter in head.parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return head.requires_grad_(False)


def random_latents() -> Tensor:
    return torch.randn(GROUPS, LATENTS, WIDTH, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


@pytest.mark.parametrize("piece", [2, 8192])
@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize(("targets", "target"), [((4,), 0), ((3, 2), 0), ((3, 2), 1), ((1,), 0)])
def test_contributions_and_bias_are_the_logit(
    targets: tuple[int, ...], target: int, relative: bool, piece: int
) -> None:
    head, latents = random_head(targets), random_latents()
    logits = head(latents, Groups.of_grid(1, 1, GROUPS)).logits[0].split(list(targets))[target]
    expected = logits - logits.mean() if relative else logits
    classes = list(range(targets[target]))[::-1]
    result = contributions(head, latents, target, classes, relative, piece)
    assert result.values.shape == (GROUPS, LATENTS, len(classes))
    torch.testing.assert_close(result.values.sum(dim=(0, 1)) + result.bias, expected[classes], rtol=1e-12, atol=1e-12)
    # The bias does not depend on the image.
    other = contributions(head, latents.flip(-1), target, classes, relative, piece)
    torch.testing.assert_close(result.bias, other.bias)


def test_a_contribution_is_the_value_times_the_gradient_with_the_deviation_held() -> None:
    head, latents = random_head((3,)), random_latents()
    result = contributions(head, latents, 0, [1], relative=False)
    weights = (head.scores(latents).flatten(0, 1) * 0.5 * torch.log(torch.tensor(GROUPS * LATENTS * 1.0))).softmax(0)
    values = head.value(latents).flatten(0, 1).unflatten(-1, (HEADS, -1))
    weighed = (weights[..., None] * values).flatten(1)  # [n d]
    pooled = weighed.sum(dim=0).requires_grad_()
    deviation = (pooled.var(correction=0) + head.norm.eps).sqrt().detach()
    normed = (pooled - pooled.mean()) / deviation * head.norm.weight + head.norm.bias
    (gradient,) = torch.autograd.grad(normed @ head.classify.weight[1], pooled)
    torch.testing.assert_close(result.values.flatten(), weighed @ gradient)


def test_the_plain_gradient_explains_nothing() -> None:
    """Why the deviation is held: the logit does not change with the length of the pooled vector."""
    head, latents = random_head((3,)), random_latents()
    pooled = torch.randn(1, 1, WIDTH, dtype=torch.float64).requires_grad_()
    (gradient,) = torch.autograd.grad(head.logits(pooled)[0, 1], pooled)
    assert abs(float((gradient * pooled).sum().detach())) < 1e-4
    assert abs(float(contributions(head, latents, 0, [1], relative=False).values.sum())) > 0.1


def test_only_differences_between_classes_count_for_a_softmax() -> None:
    head, latents = random_head((3,)), random_latents()
    before = contributions(head, latents, 0, [0, 1, 2], relative=True)
    head.classify.weight += torch.randn(WIDTH, dtype=torch.float64)
    head.classify.bias += 5
    after = contributions(head, latents, 0, [0, 1, 2], relative=True)
    torch.testing.assert_close(before.values, after.values)
    torch.testing.assert_close(before.bias, after.bias)
    torch.testing.assert_close(before.values.sum(dim=-1), torch.zeros(GROUPS, LATENTS, dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_of_the_caller_changes_nothing(dtype: torch.dtype) -> None:
    head, latents = random_head((3,)).float(), random_latents().float()
    expected = contributions(head, latents, 0, [0, 2], relative=True)
    with torch.autocast("cpu", dtype):
        result = contributions(head, latents, 0, [0, 2], relative=True)
    assert torch.equal(result.values, expected.values)
    rounded = contributions(head, latents.to(dtype), 0, [0, 2], relative=True)
    torch.testing.assert_close(rounded.values, expected.values, atol=0.05, rtol=0.05)
