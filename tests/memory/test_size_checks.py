"""Images are refused if their pixels or their list of groups do not fit into free memory."""

from __future__ import annotations

import numpy as np
import pytest

from fitcli.errors import ImageError
from fitcli.images.array_image import ArrayReader
from fitcli.memory import size_checks
from fitcli.memory.size_checks import GROUP_BYTES, check_groups, check_pixels
from fitcli.patches.grid import PatchGrid

IMAGE = ArrayReader(np.zeros((20, 30, 3), np.uint16))


@pytest.fixture(autouse=True)
def every_size_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(size_checks, "UNCHECKED_BYTES", 0)


def test_the_system_is_not_asked_for_small_images(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(size_checks, "available_bytes", lambda: asked.append(1) or 10**9)
    monkeypatch.setattr(size_checks, "UNCHECKED_BYTES", 20 * 30 * 3 * 2)
    check_pixels(IMAGE, (20, 30), "crop it")
    assert not asked
    check_pixels(IMAGE, (20, 31), "crop it")
    assert len(asked) == 1


def test_pixels_that_fit_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(size_checks, "available_bytes", lambda: 10 * 30 * 3 * 2)
    check_pixels(IMAGE, (10, 30), "crop it")
    message = r": its 30 x 11 pixels take 1 MiB of memory, but only 1 MiB are free; crop it$"
    with pytest.raises(ImageError, match=message):
        check_pixels(IMAGE, (11, 30), "crop it")


def test_groups_that_fit_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = PatchGrid((20, 30), 4, 2)
    assert grid.count == 3 * 4
    monkeypatch.setattr(size_checks, "available_bytes", lambda: 12 * GROUP_BYTES)
    check_groups(IMAGE, grid, "crop it")
    monkeypatch.setattr(size_checks, "available_bytes", lambda: 12 * GROUP_BYTES - 1)
    with pytest.raises(ImageError, match=r": its 12 groups take 1 MiB of memory, .*; crop it$"):
        check_groups(IMAGE, grid, "crop it")
