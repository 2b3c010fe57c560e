"""Images as sequences and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fitcli.patches.cutting import cut, join, patches_to_levels
from fitcli.patches.group_order import Order, permutation, whole_patches
from fitcli.patches.levels import from_levels, to_levels
from fitcli.tasks.autoregressive.sequences import (
    SequenceConfig,
    from_sequence,
    sequence_groups,
    shift_right,
    to_sequence,
)
from models.checks import ConfigError

sizes = st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4))

orders = st.sampled_from(["raster", "snake"])


@given(sizes, orders)
def test_sequences_come_back_as_the_image(size: tuple[int, int, int, int, int], order: Order) -> None:
    rows, columns, height, width, channels = size
    levels = np.random.default_rng(0).integers(0, 256, (rows * height, columns * width, channels), dtype=np.uint8)
    sequence = to_sequence(levels, (height, width), order)
    assert sequence.shape == (rows * columns, height * width * channels)
    assert sequence.dtype == torch.int64
    np.testing.assert_array_equal(from_sequence(sequence, (height, width), columns, order), levels)


def test_snake_turns_every_second_row_but_never_a_patch() -> None:
    levels = np.arange(24, dtype=np.uint8).reshape(4, 6, 1)
    assert permutation(3, 3, "snake").tolist() == [0, 1, 2, 5, 4, 3, 6, 7, 8]
    assert to_sequence(levels, (2, 2), "snake")[:, 0].tolist() == [0, 2, 4, 16, 14, 12]
    assert to_sequence(levels, (2, 2), "snake")[3].tolist() == [16, 17, 22, 23]


def test_neighbours_in_a_snake_are_neighbours_in_the_image() -> None:
    steps = sequence_groups(4, 5, "snake").coordinates.diff(dim=0).abs().sum(dim=1)
    assert (steps == 1).all()


@given(st.integers(1, 6), st.integers(1, 6))
def test_shifting_puts_each_token_one_later_over_the_border_of_groups(groups: int, tokens: int) -> None:
    targets = torch.arange(1, groups * tokens + 1).reshape(groups, tokens)
    assert shift_right(targets).flatten().tolist() == list(range(groups * tokens))


def test_a_start_of_its_own_stands_in_front() -> None:
    targets = torch.tensor([[3, 1], [2, 0]])
    config = SequenceConfig(patch=(1, 2), size=(2, 2), levels=4)
    assert shift_right(targets, config.first()).tolist() == [[4, 3], [1, 2]]
    assert shift_right(targets, config.first(2)).tolist() == [[6, 3], [1, 2]]
    assert (config.starts(0), config.starts(3)) == (1, 3)
    zero = SequenceConfig(patch=(1, 2), size=(2, 2), levels=4, start="zero")
    assert shift_right(targets, zero.first(2)).tolist() == [[0, 3], [1, 2]]
    assert zero.starts(3) == 0


@given(st.integers(2, 256), st.sampled_from(["uint8", "uint16", "float32", "float64", "int16"]), st.integers(0, 1000))
def test_levels_of_pixels_are_those_of_their_patches(levels: int, name: str, seed: int) -> None:
    dtype, limits = np.dtype(name), (0.0, 800.0) if name == "uint16" else (-300.0, 500.0)
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 4, 1)).astype(dtype)
    found = from_sequence(to_sequence(to_levels(pixels, levels, limits), (2, 2)), (2, 2), 2)
    expected = join(patches_to_levels(cut(pixels, (2, 2), (1, 1)), limits, levels), (2, 2), (1, 1), 2)
    np.testing.assert_array_equal(found, expected)
    numbers = np.arange(levels)
    back = from_levels(numbers, levels, dtype, limits)
    np.testing.assert_array_equal(to_levels(back, levels, limits), numbers)
    if name != "uint8":
        assert (back[0], back[-1]) == limits


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"patch": (0, 4)}, "patch"),
        ({"levels": 257}, "2 ... 256, not 257"),
        ({"levels": 1}, "not 1"),
        ({"start": "none"}, "'none'"),
        ({"order": "spiral"}, "'spiral'"),
        ({"size": (3, 8)}, "8 x 3 pixels is smaller than a patch of 4 x 4"),
    ],
)
def test_sequences_that_cannot_be_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SequenceConfig(**{"patch": (4, 4), "size": (8, 8)} | settings)


def test_malformed_sequences_are_refused_with_their_numbers() -> None:
    levels = np.zeros((5, 6, 1), dtype=np.uint8)
    with pytest.raises(ValueError, match="2 x 2"):
        to_sequence(levels, (2, 2))
    assert whole_patches(levels, (2, 2)).shape == (4, 6, 1)
    with pytest.raises(ValueError, match="5 groups do not fill rows of 2"):
        from_sequence(torch.zeros(5, 4, dtype=torch.int64), (2, 2), 2)
    with pytest.raises(ConfigError, match="'spiral'"):
        to_sequence(levels, (5, 6), "spiral")  # type: ignore[arg-type]
