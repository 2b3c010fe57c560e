"""Test masks against their definition, position by position."""

from __future__ import annotations

import pytest
import torch

from models.masks import causal_mask, group_causal_mask, local_causal_mask

SIZES = [(1, 1), (7, 1), (6, 3), (7, 3), (4, 9)]
"""Numbers of (positions, positions in a run); the last run may be shorter."""


@pytest.mark.parametrize(("count", "size"), SIZES)
def test_masks_are_their_definition(count: int, size: int) -> None:
    causal, groups, local = causal_mask(count), group_causal_mask(count, size), local_causal_mask(count, size)
    assert causal.dtype is groups.dtype is local.dtype is torch.bool
    for query in range(count):
        for key in range(count):
            same_run = query // size == key // size
            assert causal[query, key] == (key <= query)
            assert groups[query, key] == (key <= query or same_run)
            assert local[query, key] == (key <= query and same_run)


def test_some_rows_are_those_of_the_whole_mask() -> None:
    assert torch.equal(group_causal_mask(8, 3, rows=slice(2, 5)), group_causal_mask(8, 3)[2:5])
