"""Padding adds nothing to a loss, and nothing to its gradient."""

from __future__ import annotations

import torch

from fitcli.execution.padding import Missing, part_mask, zero_padding
from models.groups import Groups

MASK = torch.tensor([[True, True, False], [True, False, False]])


def test_padding_is_zero() -> None:
    values = torch.arange(1.0, 13.0).reshape(2, 3, 2)
    assert zero_padding(values, MASK).tolist() == [[[1, 2], [3, 4], [0, 0]], [[7, 8], [0, 0], [0, 0]]]
    assert zero_padding(values[..., 0], MASK).tolist() == [[1, 3, 0], [7, 0, 0]]
    assert zero_padding(values, None) is values


def test_padding_that_is_not_a_number_leaves_the_gradient() -> None:
    values = torch.full((2, 3), float("nan")).masked_fill(MASK, 2.0).requires_grad_()
    loss = zero_padding(values, MASK).square().sum()
    loss.backward()
    assert loss == 12
    assert values.grad is not None
    assert values.grad.tolist() == [[4, 4, 0], [4, 0, 0]]


def test_a_slice_of_the_groups_has_its_mask() -> None:
    whole = Groups.of_grid(images=1, rows=1, columns=2)
    assert part_mask(whole, slice(1, 2)) is None
    mask = part_mask(whole._replace(mask=MASK), slice(1, 2))
    assert mask is not None
    assert mask.tolist() == [[True, False, False]]


def test_missing_values_are_zero_and_do_not_count() -> None:
    marks = torch.zeros(3, 2, 4, dtype=torch.bool)
    marks[1, 0, :3] = marks[2, 1] = True
    missing = Missing.of(marks, None, torch.device("cpu"))
    assert missing.present == 24 - 7
    assert missing.zero(torch.ones(2, 2, 4), slice(1, 3)).sum() == 16 - 7
    assert missing.zero(torch.ones(2, 8), slice(1, 3)).sum() == 16 - 7, "in either shape"
    mask = torch.tensor([[True, True], [True, True], [True, False]])
    assert Missing.of(marks, mask, torch.device("cpu")).present == 20 - 3, "padding is not missing twice"
