"""Which planes a choice means, by the axes of a file, and the error for an axis that nobody chose for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fitcli.errors import UnreadableAs
from fitcli.images.plane_axes import choose_planes, chosen_channels
from fitcli.images.plane_choice import EVERYTHING, PlaneChoice

PATH = Path("x.tif")


@pytest.mark.parametrize(
    ("axes", "sizes", "choice", "expected"),
    [
        ("YX", (5, 6), {}, ("YX", {})),
        ("CYX", (3, 5, 6), {}, ("CYX", {})),
        ("TZCYX", (2, 3, 4, 5, 6), {"z": "2", "t": 1}, ("TZCYX", {"T": 1, "Z": 2})),
        ("QYX", (3, 5, 6), {"z": "1"}, ("ZYX", {"Z": 1})),
        ("IYX", (3, 5, 6), {"t": 2}, ("TYX", {"T": 2})),
        ("QYX", (3, 5, 6), {"channels": "all"}, ("CYX", {})),
        ("QYXS", (3, 5, 6, 3), {"z": "0", "channels": "1"}, ("ZYXS", {"Z": 0})),
        ("QZYX", (3, 2, 5, 6), {"z": "1", "t": 0}, ("TZYX", {"T": 0, "Z": 1})),
        ("YX", (5, 6), {"z": "max"}, ("YX", {})),
    ],
)
def test_places_along_axes(axes: str, sizes: Sequence[int], choice: dict[str, Any], expected: Any) -> None:
    chosen = choose_planes(axes, sizes, PlaneChoice(**choice), PATH, False)
    assert (chosen.axes, dict(chosen.places), chosen.projection) == (*expected, None)


def test_a_projection_takes_all_focal_planes() -> None:
    chosen = choose_planes("TZYX", (2, 3, 5, 6), PlaneChoice(z="mean", t=1), PATH, False)
    assert (chosen.projection, chosen.focal_planes, chosen.places["T"]) == ("mean", 3, 1)


@pytest.mark.parametrize(
    ("axes", "sizes", "choice", "match"),
    [
        ("ZYX", (3, 5, 6), {}, r"holds 3 focal planes \(axis Z of ZYX\); choose with --z N, --z max or --z mean"),
        ("TZYX", (2, 3, 5, 6), {"z": "0"}, r"holds 2 time points \(axis T of TZYX\); choose one with --t N"),
        ("QYX", (3, 5, 6), {}, r"holds 3 pages .*--z N.*--z max, --z mean, or --channels all"),
        ("QCYX", (3, 2, 5, 6), {"channels": "0"}, r"holds 3 pages \(axis Q of QCYX\)"),
        ("QQYX", (3, 2, 5, 6), {"z": "0"}, r"does not say what its axes are \(QQYX\)"),
        ("ZYX", (3, 5, 6), {"z": "3"}, r"has no focal plane 3, only 0 to 2; give another --z"),
        ("YX", (5, 6), {"z": "1"}, r"has no focal plane 1, only number 0"),
        ("YX", (5, 6), {"t": 1}, r"has no time point 1, only number 0; give another --t"),
        ("ZYX", (10**6, 5, 6), {"z": "max"}, r"holds 1,000,000 focal planes; fit projects at most 65,536.*--z N"),
    ],
)
def test_what_cannot_be_read(axes: str, sizes: Sequence[int], choice: dict[str, Any], match: str) -> None:
    with pytest.raises(UnreadableAs, match=match):
        choose_planes(axes, sizes, PlaneChoice(**choice), PATH, False)


def test_a_description_takes_the_first_plane() -> None:
    chosen = choose_planes("TZCYX", (2, 3, 4, 5, 6), EVERYTHING, PATH, True)
    assert dict(chosen.places) == {"T": 0, "Z": 0}


def test_channels_that_are_not_there() -> None:
    assert chosen_channels(3, ("a",), PlaneChoice(channels="2,a"), PATH) == [2, 0]
    assert chosen_channels(3, (), EVERYTHING, PATH) is None
    with pytest.raises(UnreadableAs, match=r"no channel Cy5, only channels 0 to 2 \(a, b\); give other --channels"):
        chosen_channels(3, ("a", "b"), PlaneChoice(channels="Cy5"), PATH)
    with pytest.raises(UnreadableAs, match=r"no channel 1, only channel 0; "):
        chosen_channels(1, (), PlaneChoice(channels="1"), PATH)
