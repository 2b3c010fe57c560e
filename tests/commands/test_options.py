"""Values of options that several commands share."""

from __future__ import annotations

import pytest
import typer

from fitcli.commands.options import parse_size, reading_choice
from fitcli.errors import FitError
from fitcli.images.read_as import ReadAs

MIB, GIB = 2**20, 2**30


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4GiB", 4 * GIB), ("500MB", 500_000_000), ("2G", 2 * GIB), ("1.5 GiB", 3 * GIB // 2), ("1000000", 10**6),
        ("2000000B", 2 * 10**6), ("3000kib", 3000 * 1024), ("1T", 2**40), (" 7m ", 7 * MIB), ("2gb", 2 * 10**9),
    ],
)  # fmt: skip
def test_sizes_in_bytes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "-1G", "4 GiB free", "1e9", "0", "0.2B", "8", "999kB", "4PiB", "nan"])
def test_texts_that_are_no_sizes(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_size(text)


def test_what_is_read_of_an_image() -> None:
    assert reading_choice(None, None) is None, "as in training"
    assert reading_choice(0, None) == ReadAs(level=0)
    assert reading_choice(None, 0.5) == ReadAs(mpp=0.5)
    with pytest.raises(FitError, match="give one of them"):
        reading_choice(1, 0.5)
