"""The sizes that the memory of a step grows with, and how one dry run tells for each tensor with which of them it does.

A dry run takes a prime, or a product of primes, for each size. The bytes of a tensor are then a multiple of the size
that it grows with, and of no other. So one run gives the bytes for all sizes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cache

import numpy as np
from numpy.typing import NDArray


class Size(IntEnum):
    """A size that bytes or operations are proportional to.

    A dry run hands out the groups in five parts: the first handful, all groups in between, one handful in the shadow of
    these, and the last two. While the second and third are computed, the peak does not count: what they leave behind
    does. The third makes a loop drop what its variables still hold of the second. There are two last handfuls since a
    backward pass begins with them: only the second adds to gradients that exist. If some handfuls are recomputed and
    others are kept, there are five parts of each.
    """

    ONE = 0
    IMAGES = 1
    IMAGE_GROUPS = 2
    GROUPS = 3
    SQUARED_GROUPS = 4
    """Groups of all images, times the groups of one image."""
    SQUARED_IMAGE_GROUPS = 5
    """Groups of one image, squared."""
    HANDFUL = 6
    BETWEEN = 7
    SHADOW = 8
    KEPT_BETWEEN = 9
    KEPT_SHADOW = 10
    HANDFULS_BETWEEN = 11
    """Number of handfuls in between: each may keep something of constant size, such as casts of weights."""
    KEPT_HANDFULS_BETWEEN = 12


IN_BETWEEN = frozenset((Size.BETWEEN, Size.SHADOW, Size.KEPT_BETWEEN, Size.KEPT_SHADOW))
"""Sizes of the parts that stand for many handfuls, and of those in their shadow."""

HANDFULS = {Size.BETWEEN: Size.HANDFULS_BETWEEN, Size.KEPT_BETWEEN: Size.KEPT_HANDFULS_BETWEEN}
"""The number of handfuls that the parts in between stand for."""

ALL_GROUPS = frozenset((Size.GROUPS, Size.SQUARED_GROUPS, Size.SQUARED_IMAGE_GROUPS))
"""Sizes that grow with all groups."""

IMAGES, IMAGE_GROUPS, HANDFUL, SHADOW, KEPT_BETWEEN, KEPT_SHADOW = 101, 10007, 131, 137, 4099, 139
"""Sizes of dry runs: primes that divide no size of a model."""


@dataclass(frozen=True, slots=True)
class DrySizes:
    """The sizes of a dry run.

    Attributes:
        images: Number of images.
        parts: Number of groups in each part; None for all groups at once.
        kept_parts: Number of parts, counted from the last, whose activations are kept.
        values: The size that each member of `Size` stands for.
    """

    images: int
    parts: tuple[int, ...] | None
    kept_parts: int
    values: tuple[int, ...]

    def split(self, number: int) -> tuple[Size, int]:
        """Return the size that a number of bytes or operations is a multiple of, and the factor."""
        return _split(self.values, number)


@cache
def _split(values: tuple[int, ...], number: int) -> tuple[Size, int]:
    for size in _ORDER:
        factor, rest = divmod(number, values[size])
        if not rest:
            return size, factor
    raise AssertionError("every number is a multiple of one")


_ORDER = (
    Size.SQUARED_GROUPS, Size.SQUARED_IMAGE_GROUPS, Size.GROUPS, Size.BETWEEN, Size.KEPT_BETWEEN, Size.SHADOW,
    Size.KEPT_SHADOW, Size.HANDFUL, Size.IMAGE_GROUPS, Size.IMAGES, Size.ONE,
)  # fmt: skip
"""Products before their factors."""


def dry_sizes(images: int, handfuls: bool, some_kept: bool = False, all_kept: bool = False) -> DrySizes:
    """Return the sizes of a dry run.

    Args:
        images: Number of images: `IMAGES`, or 1 for a pass over one image.
        handfuls: Whether the groups are computed a handful at a time.
        some_kept, all_kept: Whether the activations of some or of all handfuls are kept.
    """
    groups = images * IMAGE_GROUPS
    kept = (HANDFUL, KEPT_BETWEEN, KEPT_SHADOW, HANDFUL, HANDFUL) if some_kept else ()
    between = groups - sum(kept) - 3 * HANDFUL - SHADOW
    parts = (HANDFUL, between, SHADOW, HANDFUL, HANDFUL, *kept) if handfuls else None
    values = {
        Size.ONE: 1,
        # Nothing is a multiple of a single image.
        Size.IMAGES: images if images > 1 else groups**3,
        Size.IMAGE_GROUPS: IMAGE_GROUPS,
        Size.GROUPS: groups,
        Size.SQUARED_GROUPS: groups * IMAGE_GROUPS,
        Size.SQUARED_IMAGE_GROUPS: IMAGE_GROUPS**2,
        Size.HANDFUL: HANDFUL,
        Size.BETWEEN: between,
        Size.SHADOW: SHADOW,
        Size.KEPT_BETWEEN: KEPT_BETWEEN,
        Size.KEPT_SHADOW: KEPT_SHADOW,
    }
    kept_parts = len(kept) or (5 if all_kept else 0)
    return DrySizes(images, parts, kept_parts, tuple(values.get(size, 0) for size in Size))


def typical_sizes(handfuls: bool, some_kept: bool) -> NDArray[np.float64]:
    """Return the sizes of many real steps, [steps sizes], from one group to the largest image of anyone."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(1500):
        images, image_groups = int(2 ** rng.uniform(0, 7)), int(10 ** rng.uniform(0, 6))
        groups = images * image_groups
        handful = int(2 ** rng.uniform(0, 11)) if handfuls else groups
        kept = int(rng.uniform() * groups) if number % 2 else groups - handful
        rows.append(actual_sizes(images, image_groups, handful, max(0, kept), some_kept))
    return np.stack(rows)


def actual_sizes(
    images: int, image_groups: int, handful: int, kept_groups: int = 0, some_kept: bool = False
) -> NDArray[np.float64]:
    """Return the value of each member of `Size` for a real step.

    The parts in between are what the others leave. They are negative for few handfuls, which is right: bytes that each
    handful keeps are then counted for fewer.

    Args:
        images: Number of images.
        image_groups: Number of groups of one image.
        handful: Number of groups of a handful.
        kept_groups: Number of groups in the handfuls whose activations are kept.
        some_kept: Whether that are some, but not all of them.
    """
    groups = images * image_groups
    kept = kept_groups if some_kept else 0
    handful = max(1, min(handful, groups - kept))
    between, kept_between = groups - kept - 4 * handful, kept - 4 * handful if some_kept else 0
    values = {
        Size.ONE: 1,
        Size.IMAGES: images,
        Size.IMAGE_GROUPS: image_groups,
        Size.GROUPS: groups,
        Size.SQUARED_GROUPS: groups * image_groups,
        Size.SQUARED_IMAGE_GROUPS: image_groups**2,
        Size.HANDFUL: handful,
        Size.BETWEEN: between,
        Size.SHADOW: handful,
        Size.KEPT_BETWEEN: kept_between,
        Size.KEPT_SHADOW: handful,
        Size.HANDFULS_BETWEEN: between / handful,
        Size.KEPT_HANDFULS_BETWEEN: kept_between / handful,
    }
    return np.array([values[size] for size in Size], np.float64)
