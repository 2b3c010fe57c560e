"""Reads the attributes of files of features: the numbers that describe patches and their slide.

A number that no patch or slide has is an error: a reader that passed over it would place the patches wrongly, or
compare them with others by a guess.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fitcli.errors import ImageError
from fitcli.images.features.place_index import FARTHEST


class Limits(NamedTuple):
    """The numbers that an attribute may have.

    Attributes:
        least, most: They lie between these.
        zero: Whether 0 is one of them.
        pair: Whether the attribute may hold a number for each axis, if both are about the same.
    """

    least: float
    most: float
    zero: bool = False
    pair: bool = False


LARGEST_PATCH = 1 << 31
"""Limit of the side of a patch, in pixels."""

LIMITS: dict[str, Limits] = {
    "patch_size": Limits(0, LARGEST_PATCH),
    "patch_size_level0": Limits(0, LARGEST_PATCH),
    "overlap": Limits(0, LARGEST_PATCH, zero=True),
    "patch_level": Limits(0, 64, zero=True),
    "downsample": Limits(0, 1e6, pair=True),
    "custom_downsample": Limits(0, 1e6, pair=True),
    "level0_magnification": Limits(1e-3, 1e3),
    "target_magnification": Limits(1e-3, 1e3),
    "level0_mpp": Limits(0, 1e3),
    "mpp": Limits(0, 1e3),
    "level0_width": Limits(0, FARTHEST),
    "level0_height": Limits(0, FARTHEST),
}
"""The attributes that are read. Programs write others as well."""

UNKNOWN = ("", "none")
"""Texts that stand for a number that is not known."""

SAME = 0.01
"""Largest difference of the numbers of two axes, as a share of them: rounded sizes of levels explain it."""


def read_numbers(path: Path, owner: str, attributes: Mapping[str, Any]) -> dict[str, float]:
    """Return the attributes in `LIMITS` that are known.

    Args:
        path: The file, for messages.
        owner: Owner of the attributes, for messages.
        attributes: Numbers, texts of numbers, or arrays of one number.

    Raises:
        ImageError: One of them is no number, or one that is impossible.
    """
    found = {}
    for name, limits in LIMITS.items():
        if name in attributes and (number := _number(path, owner, name, attributes[name], limits)) is not None:
            found[name] = number
    return found


def _number(path: Path, owner: str, name: str, value: Any, limits: Limits) -> float | None:
    array = np.asarray(value)
    if array.size > 1 and name.startswith("patch_size"):
        raise ImageError(path, "states several patch sizes; extract features with one")
    if _is_unknown(value):
        return None
    number = _one_number(array, limits.pair)
    if number is None or not (limits.least < number < limits.most or (limits.zero and number == 0)):
        wanted = f"a number {'from 0' if limits.zero else f'above {limits.least:g}'} and below {limits.most:g}"
        raise ImageError(
            path, f"states {name} {_shown(value)} with {owner}, which is not {wanted}; correct or remove the attribute"
        )
    return number


def _is_unknown(value: Any) -> bool:
    import h5py

    if isinstance(value, h5py.Empty):
        return True
    text = value.decode(errors="replace") if isinstance(value, bytes) else value
    return isinstance(text, str) and text.strip().lower() in UNKNOWN


def _one_number(array: np.ndarray[Any, Any], pair: bool) -> float | None:
    """Return the number in an array of one, or of two equal ones; None without one."""
    if array.dtype.kind == "b" or not (array.size == 1 or (pair and array.size == 2)):
        return None
    try:
        numbers = [float(each) for each in array.ravel().tolist()]
    except (ValueError, TypeError, OverflowError):
        return None
    mean = sum(numbers) / len(numbers)
    return mean if all(abs(each - mean) <= SAME * abs(mean) for each in numbers) else None


def _shown(value: Any) -> str:
    text = " ".join(repr(value.tolist() if isinstance(value, np.ndarray | np.generic) else value).split())
    return text if len(text) <= 40 else f"{text[:40]}..."
