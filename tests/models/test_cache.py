"""Test that a KV cache returns what was appended, in order, and refuses more than its room."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models.cache import KeyValues


def test_appending_is_concatenation() -> None:
    cache = KeyValues(2, 3, room=6, width=5, like=torch.zeros(1, dtype=torch.float64))
    parts = [_part(count, seed) for seed, count in enumerate([1, 3, 2])]
    for number in range(len(parts)):
        keys, values = cache.append(*parts[number])
        assert cache.length == keys.shape[2]
        assert torch.equal(keys, torch.cat([part[0] for part in parts[: number + 1]], dim=2))
        assert torch.equal(values, torch.cat([part[1] for part in parts[: number + 1]], dim=2))


def test_a_cleared_cache_starts_again_in_the_same_memory() -> None:
    cache = KeyValues(2, 3, room=4, width=5, like=torch.zeros(1, dtype=torch.float64))
    first, _ = cache.append(*_part(4, seed=0))
    cache.clear()
    part = _part(2, seed=1)
    keys, values = cache.append(*part)
    assert torch.equal(keys, part[0])
    assert torch.equal(values, part[1])
    assert keys.data_ptr() == first.data_ptr()


def test_more_than_the_room_is_refused_and_changes_nothing() -> None:
    cache = KeyValues(2, 3, room=4, width=5, like=torch.zeros(1, dtype=torch.float64))
    part = _part(3, seed=0)
    keys, _ = cache.append(*part)
    with pytest.raises(ValueError, match=r"5 keys .* 4"):
        cache.append(*_part(2, seed=1))
    assert cache.length == 3
    assert torch.equal(keys, part[0])


def _part(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return keys and values of `count` positions, [2 3 count 5] each."""
    keys, values = torch.randn(2, 2, 3, count, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return keys, values
