"""Compares candidates at the borders of groups with those of the groups beside them.

After that, a candidate is a peak as if the heat of the whole image had been computed at once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fitcli.tasks.detect.cell_layout import Integers

AROUND = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if (down, right) != (0, 0)]
"""Steps to the eight neighbours of a cell."""


def exceeded_across(cells: Integers, numbers: Integers, scores: NDArray[np.float32], side: int) -> NDArray[np.bool_]:
    """Return which candidates are beside a better one of their class in another group, [e].

    Of equal ones that are neighbours across a border, the first in reading order stays: an object on a border is found
    once.

    Args:
        cells: (row, column) of the candidates, in cells of the image, [e 2].
        numbers: Class numbers.
        scores: Heat.
        side: Cells per side of a group.
    """
    within = cells % side
    at_border = np.flatnonzero(((within == 0) | (within == side - 1)).any(axis=1))
    exceeded = np.zeros(len(cells), np.bool_)
    if not len(at_border):
        return exceeded
    own, kind, heat = cells[at_border], numbers[at_border], scores[at_border]
    columns, kinds = int(own[:, 1].max()) + 3, int(kind.max()) + 1
    keys = _keys(own, kind, columns, kinds)
    order = np.argsort(keys, kind="stable")
    for down, right in AROUND:
        beside = own + np.array([down, right])
        across = (beside // side != own // side).any(axis=1)
        wanted = _keys(beside, kind, columns, kinds)
        place = np.searchsorted(keys, wanted, sorter=order).clip(max=len(keys) - 1)
        other = order[place]
        found = across & (keys[other] == wanted)
        is_later = (down, right) < (0, 0)
        better = (heat[other] > heat) | ((heat[other] == heat) & is_later)
        exceeded[at_border[found & better]] = True
    return exceeded


def _keys(cells: Integers, numbers: Integers, columns: int, kinds: int) -> Integers:
    keys: Integers = ((cells[:, 0] + 1) * columns + cells[:, 1] + 1) * kinds + numbers
    return keys
