"""The smaller version of an image is the same for every store and cut, and so is what is made of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fitcli.images.window import Window
from fitcli.patches.cutting import to_patches
from fitcli.patches.grid import PatchGrid
from fitcli.patches.resampling import enlarge
from fitcli.streaming.token_store import StoreKind
from fitcli.tasks.diffusion.canvas import CanvasLayout
from fitcli.tasks.diffusion.config import Enlarging
from fitcli.tasks.diffusion.given_image import given_image

PATCH, GROUP, FACTOR = 4, 2, 4
HOW = Enlarging(factor=FACTOR, noise=0.1, deviation=0.25)
CPU = torch.device("cpu")


def opened(smaller: NDArray[np.float32], noise: float = 0.0, store: StoreKind = "host", **more: Any) -> Any:
    channels, size = smaller.shape[2], smaller.shape[:2]
    address = {"seed": 1, "number": 0} | more
    return given_image(
        lambda w: smaller[w.slices()], size, channels, HOW, PATCH, 1.0, noise, store=store, **address
    )  # fmt: skip


def picture(height: int, width: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).uniform(-1, 1, (height, width, 2)).astype(np.float32)


def test_patches_and_windows_are_those_of_the_enlarged_image() -> None:
    smaller, grid = picture(10, 70), PatchGrid((40, 280), PATCH, GROUP)
    whole = enlarge(lambda w: smaller[w.slices()], (10, 70), (40, 280), Window(0, 0, 40, 280))
    layout = CanvasLayout(10, 70, GROUP)
    with opened(smaller) as given:
        parts = [given.patches(layout, part, CPU) for part in (slice(0, 1), slice(1, 50), slice(50, layout.count))]
        torch.testing.assert_close(torch.cat(parts), to_patches(whole, grid), atol=1e-6, rtol=0)
        window = Window(3, 66, 20, 30)
        difference = picture(20, 30)
        expected = 0.5 * difference + whole[window.slices()]
        np.testing.assert_allclose(given.add_window(difference, window), expected, atol=1e-6)
        values = torch.ones(3, 4, 32)
        part = slice(0, 3)
        torch.testing.assert_close(given.add(values, layout, part), 0.5 + given.patches(layout, part, CPU))
        assert given.level == 0


def test_a_shifted_grid_begins_beyond_the_edge() -> None:
    smaller = picture(8, 8)
    with opened(smaller) as given:
        patches = given.patches(CanvasLayout(8, 8, GROUP, offset=1), slice(0, 1), CPU)
        window = Window(-PATCH, -PATCH, 2 * PATCH, 2 * PATCH)
        expected = enlarge(lambda w: smaller[w.slices()], (8, 8), (32, 32), window)
        inside = to_patches(expected, PatchGrid((8, 8), PATCH, GROUP))[0, 3]
        torch.testing.assert_close(patches[0, 3], inside, atol=1e-6, rtol=0)


def test_noise_has_the_chosen_strength_and_an_address() -> None:
    smaller, everything = np.zeros((80, 150, 2), np.float32), Window(0, 0, 80, 150)

    def noise(**more: Any) -> Any:
        with opened(smaller, 0.05, **more) as given:
            assert given.level == pytest.approx(0.5)
            return given.canvas.read(*(0, 0, 80, 150)).clone()

    first = noise()
    assert everything.area * 2 == first.numel()
    # The data range over [-1, 1].
    assert float(first.std()) == pytest.approx(0.1, rel=0.02)
    assert torch.equal(first, noise(store="disk"))
    assert not torch.equal(first, noise(seed=2))
    assert not torch.equal(first, noise(number=1))
