"""The sizes of dry runs: each is recognised in any product, and the parts of a real step add up to its groups."""

from __future__ import annotations

import itertools

import pytest

from fitcli.memory.sizes import (
    HANDFUL,
    IMAGE_GROUPS,
    IMAGES,
    KEPT_BETWEEN,
    SHADOW,
    Size,
    actual_sizes,
    dry_sizes,
    typical_sizes,
)

FACTORS = (1, 2, 3, 4, 8, 64, 192, 256, 768, 1000, 1024, 3072, 65536, 589824)
"""Sizes of models: widths, tokens, classes and their products."""


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("some_kept", [False, True])
@pytest.mark.parametrize("images", [1, IMAGES])
def test_sizes_are_recognised(images: int, some_kept: bool, factor: int) -> None:
    sizes = dry_sizes(images, handfuls=True, some_kept=some_kept)
    assert sizes.parts is not None
    expected = {
        1: Size.ONE, images * IMAGE_GROUPS: Size.GROUPS, images * IMAGE_GROUPS**2: Size.SQUARED_GROUPS,
        HANDFUL: Size.HANDFUL, sizes.parts[1]: Size.BETWEEN, SHADOW: Size.SHADOW,
    }  # fmt: skip
    if images > 1:
        expected |= {images: Size.IMAGES, IMAGE_GROUPS: Size.IMAGE_GROUPS, IMAGE_GROUPS**2: Size.SQUARED_IMAGE_GROUPS}
    if some_kept:
        expected |= {KEPT_BETWEEN: Size.KEPT_BETWEEN}
    for value, size in expected.items():
        assert sizes.split(value * factor) == (size, factor)


def test_parts_are_all_groups() -> None:
    for some_kept, all_kept in ((False, False), (True, False), (False, True)):
        sizes = dry_sizes(IMAGES, True, some_kept, all_kept)
        assert sizes.parts is not None
        assert sum(sizes.parts) == IMAGES * IMAGE_GROUPS
        assert sizes.kept_parts == 5 * (some_kept or all_kept)
    assert dry_sizes(IMAGES, handfuls=False).parts is None


@pytest.mark.parametrize(("images", "groups", "handful"), itertools.product((1, 3), (1, 7, 100), (1, 8)))
def test_what_every_group_keeps_is_counted_once_for_each(images: int, groups: int, handful: int) -> None:
    for kept in (0, images * groups // 2):
        sizes = actual_sizes(images, groups, handful, kept, some_kept=kept > 0)
        own = min(handful, images * groups - kept)
        replayed = 3 * own + sizes[Size.SHADOW] + sizes[Size.BETWEEN]
        kept_groups = 3 * own + sizes[Size.KEPT_SHADOW] + sizes[Size.KEPT_BETWEEN] if kept else 0
        assert replayed + kept_groups == images * groups == sizes[Size.GROUPS]


def test_typical_sizes_are_the_same_every_time() -> None:
    first, second = (typical_sizes(handfuls=True, some_kept=True) for _ in range(2))
    assert (first == second).all()
    assert first.shape[1] == len(Size)
    assert first[:, Size.GROUPS].max() > 1e6
