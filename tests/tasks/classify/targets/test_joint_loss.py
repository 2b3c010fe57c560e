"""Loss, correctness and class weights of several targets, by their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support.answer_tables import ANSWERS
from support.answer_tables import TARGETS as MIXED

from fitcli.runs.targets import Target
from fitcli.tasks.classify.targets.joint_loss import balanced_target_weights, correct_targets, loss_of_targets
from fitcli.tasks.classify.targets.rows import answer_rows

TARGETS = (Target("kind", "single-label", ("cat", "dog", "owl")), Target("marks", "multi-label", ("a", "b")))

ROWS = answer_rows(TARGETS, [((0,), (0, 1)), ((2,), ()), ((1,), (1,))])


def test_the_loss_by_its_definition() -> None:
    logits = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    assert ROWS.tolist() == [[0, 1, 1], [2, 0, 0], [1, 0, 1]]
    probabilities, each = logits[:, :3].softmax(1), logits[:, 3:].sigmoid()
    single = -(probabilities[0, 0].log() + probabilities[1, 2].log() + probabilities[2, 1].log()) / 3
    held = torch.tensor([[1.0, 1], [0, 0], [0, 1]])
    multi = -(held * each.log() + (1 - held) * (1 - each).log()).sum() / 3
    assert torch.allclose(loss_of_targets(logits, ROWS, TARGETS), (single + multi) / 2)
    smoothed = loss_of_targets(logits, ROWS, TARGETS, smoothing=0.2)
    first = F.cross_entropy(logits[:, :3], torch.tensor([0, 2, 1]), label_smoothing=0.2)
    held = 0.8 * held + 0.1
    second = -(held * each.log() + (1 - held) * (1 - each).log()).sum() / 3
    assert torch.allclose(smoothed, (first + second) / 2)


def test_a_class_that_holds_is_worth_what_all_others_are() -> None:
    weights = balanced_target_weights(answer_rows(TARGETS, [((0,), (0,)), ((0,), ()), ((1,), ()), ((2,), ())]), TARGETS)
    assert torch.allclose(weights, torch.tensor([4 / 6, 4 / 3, 4 / 3, 3.0, 3.0]))
    loss = loss_of_targets(torch.zeros(3, 5), ROWS, TARGETS, torch.tensor([1.0, 1, 1, 3, 1]))
    # Of six answers to yes or no, one is worth three.
    assert loss == pytest.approx((np.log(3) + np.log(2) * 8 / 3) / 2)


def test_a_prediction_is_correct_where_all_its_classes_are() -> None:
    logits = torch.tensor([[2.0, 1, 0, 1, 1], [2, 1, 0, -1, 1], [0, 1, 0, 1, 1]])
    assert correct_targets(logits, ROWS, TARGETS).tolist() == [[True, True], [False, False], [True, False]]


def test_targets_of_all_kinds_are_worth_the_same() -> None:
    outputs = torch.randn(3, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    kind = F.cross_entropy(outputs[:, :3], torch.tensor([0, 2, 1]))
    held = torch.tensor([[1.0, 1], [0, 0], [0, 1]], dtype=torch.float64)
    marks = F.binary_cross_entropy_with_logits(outputs[:, 3:5], held) * 2
    # Standardised: 1 and -3.5; the second is known for nobody.
    sizes = torch.tensor([1.0, -3.5], dtype=torch.float64)
    size = F.huber_loss(outputs[[0, 2], 5], sizes, reduction="sum") / 3
    beyond, dies = outputs[:, 6:8].sigmoid(), outputs[:, 8:].sigmoid()
    grade = -((beyond[0, 0] * (1 - beyond[0, 1])).log() + (beyond[2, 0] * beyond[2, 1]).log()) / 3
    life = -(dies[0, 0].log() + ((1 - dies[1, 0]) * (1 - dies[1, 1])).log()) / 3
    loss = loss_of_targets(outputs, answer_rows(MIXED, ANSWERS), MIXED)
    assert torch.allclose(loss, (kind + marks + size + grade + life) / 5)


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_unknown_answers_leave_no_trace_in_batches_of_any_size(batch_size: int) -> None:
    """The loss over all images, and its gradient, do not depend on which of them share a batch."""
    rows = answer_rows(MIXED, ANSWERS)
    outputs = torch.randn(3, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    whole = loss_of_targets(outputs, rows, MIXED)
    (expected,) = torch.autograd.grad(whole, outputs)
    parts = zip(outputs.split(batch_size), rows.split(batch_size), strict=True)
    total = torch.stack([loss_of_targets(own, held, MIXED) * len(own) for own, held in parts]).sum() / 3
    (gradient,) = torch.autograd.grad(total, outputs)
    assert torch.allclose(total, whole)
    assert torch.allclose(gradient, expected)
    assert gradient[1, 5:8].tolist() == [0, 0, 0]
    assert gradient[2, 8:].tolist() == [0, 0]
    assert math.isfinite(float(gradient.sum()))


def test_only_targets_of_classes_are_right_or_wrong_and_balanced() -> None:
    rows = answer_rows(MIXED, ANSWERS)
    assert correct_targets(torch.zeros(3, 10), rows, MIXED).tolist() == [[True, False], [False, True], [False, False]]
    assert balanced_target_weights(rows, MIXED).tolist() == [1.0, 1, 1, 2, 0.5, *[1.0] * 5]
