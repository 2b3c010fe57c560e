"""What cannot be used is passed over up to a number, and named beyond it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fitcli.annotations.label_results import try_all
from fitcli.errors import DataError

SAMPLES = [(Path(f"{number}.tif"), Path(f"{number}.png")) for number in range(4)]


def name(sample: tuple[Path, Path]) -> str:
    if sample[0].stem in ("1", "3"):
        raise DataError(f"{sample[1]}: bad")
    return sample[0].stem


def test_the_usable_ones_keep_their_order() -> None:
    assert try_all(name, SAMPLES, 2) == [(SAMPLES[0], "0"), (SAMPLES[2], "2")]


@pytest.mark.parametrize("most_bad", [0, 1])
def test_too_many_are_one_error_with_their_number(most_bad: int) -> None:
    with pytest.raises(DataError, match=r"^1\.png: bad \(and 1 more image whose labels cannot be used\)$"):
        try_all(name, SAMPLES, most_bad)


def test_all_are_too_many() -> None:
    with pytest.raises(DataError, match=r"^1\.png: bad$"):
        try_all(name, SAMPLES[1:2], 9)
