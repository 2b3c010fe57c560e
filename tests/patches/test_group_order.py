"""An order holds every patch once, and reverses every second row of a snake."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fitcli.patches.group_order import Order, permutation, whole_patches
from models.checks import ConfigError


@pytest.mark.parametrize("order", ["raster", "snake"])
@given(st.integers(1, 6), st.integers(1, 6))
def test_every_patch_comes_once(order: Order, rows: int, columns: int) -> None:
    assert sorted(permutation(rows, columns, order).tolist()) == list(range(rows * columns))


def test_orders_by_hand() -> None:
    assert permutation(2, 3, "raster").tolist() == [0, 1, 2, 3, 4, 5]
    assert permutation(3, 3, "snake").tolist() == [0, 1, 2, 5, 4, 3, 6, 7, 8]


@given(st.integers(1, 6), st.integers(1, 6))
def test_neighbours_in_a_snake_are_neighbours_in_the_image(rows: int, columns: int) -> None:
    order = permutation(rows, columns, "snake")
    steps = torch.stack([order // columns, order % columns]).diff(dim=1).abs().sum(dim=0)
    assert (steps == 1).all()


def test_an_unknown_order_is_refused() -> None:
    with pytest.raises(ConfigError, match="'spiral'"):
        permutation(1, 1, "spiral")  # type: ignore[arg-type]


def test_pixels_beyond_the_last_whole_patch_are_dropped() -> None:
    pixels = np.arange(5 * 7).reshape(5, 7, 1)
    np.testing.assert_array_equal(whole_patches(pixels, (2, 3)), pixels[:4, :6])
    np.testing.assert_array_equal(whole_patches(pixels, (5, 7)), pixels)
    assert whole_patches(pixels, (6, 1)).shape == (0, 7, 1)
