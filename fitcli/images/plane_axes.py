"""Finds the planes of a file that a user chose, by the names of its axes; formats read them. numpy-free."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fitcli.errors import UnreadableAs
from fitcli.images.plane_choice import PlaneChoice, quoted_name

KNOWN = "XYCSZT"
"""Axes with a meaning. Files also have axes of pages without one, "Q" or "I" in tifffile."""

NAMES = {"T": "time points", "Z": "focal planes"}
"""Names of the planes along an axis, for messages; "pages" for axes without a meaning."""

MAX_PROJECTED = 1 << 16
"""Largest number of focal planes that are read for one projection."""


@dataclass(frozen=True, slots=True)
class ChosenPlanes:
    """The planes of a file that are read.

    Attributes:
        axes: Axes in upper case, as stored, in which an axis of pages has the letter of what it was chosen for.
        places: Number of the plane along each axis that has been chosen from.
        projection: "max" or "mean" of all planes along Z; None without a projection.
        focal_planes: Number of planes along Z for a projection; else 1.
    """

    axes: str
    places: Mapping[str, int]
    projection: str | None = None
    focal_planes: int = 1


def choose_planes(axes: str, sizes: Sequence[int], choice: PlaneChoice, path: Path, lenient: bool) -> ChosenPlanes:
    """Return the planes that a choice means.

    Args:
        axes: Axes of the file in upper case, as stored.
        sizes: Length along each axis.
        choice: The choice of the user.
        path: The file, for messages.
        lenient: Whether the first plane is taken where nothing was chosen, to describe a file.

    Raises:
        UnreadableAs: The file does not have a chosen plane, or several along an axis without a choice.
    """
    if len(set(axes)) < len(axes):
        raise UnreadableAs(path, f"does not say what its axes are ({axes}); write it again with their names")
    renamed = _with_meaning(axes, sizes, choice)
    lengths = dict(zip(renamed, sizes, strict=True))
    if choice.projection is not None:
        return _project(renamed, axes, lengths, choice, path, lenient)
    return ChosenPlanes(renamed, _places(renamed, axes, lengths, choice, path, lenient))


def _project(
    renamed: str, axes: str, lengths: Mapping[str, int], choice: PlaneChoice, path: Path, lenient: bool
) -> ChosenPlanes:
    count = lengths.get("Z", 1)
    if count > MAX_PROJECTED:
        raise UnreadableAs(
            path, f"holds {count:,} focal planes; fit projects at most {MAX_PROJECTED:,}, choose one with --z N"
        )
    if count == 1:
        return ChosenPlanes(renamed, _places(renamed, axes, lengths, choice, path, lenient))
    places = _places(renamed, axes, {**lengths, "Z": 1}, choice, path, lenient)
    return ChosenPlanes(renamed, places, choice.projection, count)


def _with_meaning(axes: str, sizes: Sequence[int], choice: PlaneChoice) -> str:
    """Return the axes with the letter that the user chose for the only axis of pages."""
    pages = [axis for axis, size in zip(axes, sizes, strict=True) if axis not in KNOWN and size > 1]
    if len(pages) != 1 or axes.count(pages[0]) > 1:
        return axes
    chosen = {"Z": choice.z, "T": choice.t, "C": choice.channels}
    free = [axis for axis, value in chosen.items() if value is not None and axis not in axes]
    if "S" in axes and dict(zip(axes, sizes, strict=True))["S"] > 1 and "C" in free:
        free.remove("C")  # the channels are those of each page
    return axes.replace(pages[0], free[0]) if free else axes


def _places(
    renamed: str, axes: str, lengths: Mapping[str, int], choice: PlaneChoice, path: Path, lenient: bool
) -> dict[str, int]:
    chosen = {"Z": ("--z", choice.plane), "T": ("--t", choice.t)}
    for axis, (option, number) in chosen.items():
        count = lengths.get(axis, 1)
        if number is not None and number >= count:
            have = f"0 to {count - 1}" if count > 1 else "number 0"
            raise UnreadableAs(path, f"has no {NAMES[axis][:-1]} {number}, only {have}; give another {option}")
    places: dict[str, int] = {}
    for axis, count in lengths.items():
        if axis in "XYCS":
            continue
        _, number = chosen.get(axis, ("", None))
        if number is None and count > 1 and not lenient:
            raise UnreadableAs(path, _unchosen(axis, count, axes))
        places[axis] = number or 0
    return places


def _unchosen(axis: str, count: int, axes: str) -> str:
    holds = f"holds {count} {NAMES.get(axis, 'pages')} (axis {axis} of {axes})"
    if axis == "Z":
        return f"{holds}; choose with --z N, --z max or --z mean"
    if axis == "T":
        return f"{holds}; choose one with --t N"
    return f"{holds}; choose one with --z N, or take all: --z max, --z mean, or --channels all for pages as channels"


def chosen_channels(count: int, names: Sequence[str], choice: PlaneChoice, path: Path) -> list[int] | None:
    """Return the numbers of the chosen channels; None for all.

    Raises:
        UnreadableAs: The file does not have one of them.
    """
    numbers = choice.channel_numbers(count, names)
    if isinstance(numbers, str):
        have = f"channels 0 to {count - 1}" if count > 1 else "channel 0"
        known = [quoted_name(name) for name in names[:count] if name]
        named = f" ({', '.join(known[:20])}{', ...' if len(known) > 20 else ''})" if known else ""
        raise UnreadableAs(path, f"has no channel {quoted_name(numbers)}, only {have}{named}; give other --channels")
    return numbers


def picked_names(names: Sequence[str], numbers: Sequence[int]) -> tuple[str, ...]:
    """Return the names of some channels; () if none of them has one."""
    if not any(names):
        return ()
    picked = tuple(names[number] if number < len(names) else "" for number in numbers)
    return picked if any(picked) else ()


def plane_number(axes: str, sizes: Sequence[int], places: Mapping[str, int]) -> int:
    """Return the position of a plane among all, the last axis counting fastest."""
    number = 0
    for axis, size in zip(axes, sizes, strict=True):
        number = number * size + places[axis]
    return number


def plane_count(sizes: Sequence[int]) -> int:
    """Return the number of planes along some axes."""
    return math.prod(sizes)
