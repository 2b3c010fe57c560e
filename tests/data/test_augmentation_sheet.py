"""The sheet of augmentations has the image as it is, a row per kind that changes it, and all of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.pictures import colored, save

from fitcli.data.augmentation_sheet import DRAWS, GAP, LINE, SIDE, write_augmentation_sheet
from fitcli.errors import FitError
from fitcli.images.open import open_image
from fitcli.images.window import Window


def pictures(file: Path) -> np.ndarray:
    """Return the pictures of a sheet, [rows, columns, side, side, 3]."""
    with open_image(file) as image:
        pixels = image.read(Window(0, 0, *image.info.size))
    step = SIDE + LINE + GAP
    rows = (len(pixels) - GAP) // step
    return np.stack([
        np.stack([
            pixels[GAP + row * step + LINE :, GAP + column * (SIDE + GAP) :][:SIDE, :SIDE]
            for column in range(DRAWS + 1)
        ])
        for row in range(rows)
    ])  # fmt: skip


@pytest.mark.walk(1)
@pytest.mark.parametrize(
    ("channels", "expected"),
    [(1, "flips light scale blur noise"), (3, "flips light colour stain scale blur noise drop"),
     (4, "flips light colour scale blur noise drop")],
)  # fmt: skip
def test_kinds_that_suit_the_image(tmp_path: Path, channels: int, expected: str) -> None:
    image = save(tmp_path / "a.tif", colored((200, 230), (150, 90, 130, 60)[:channels], 0))
    shown = write_augmentation_sheet(image, tmp_path / "sheet.png", None)
    assert shown.text().replace("=", ",").split(",")[0] == "flips"
    assert [name.partition("=")[0] for name in shown.text().split(",")] == expected.split()
    rows = pictures(tmp_path / "sheet.png")
    assert len(rows) == len(expected.split()) + 1
    plain = rows[0, 0]
    for name, row in zip([*expected.split(), "all"], rows, strict=True):
        assert np.array_equal(row[0], plain), "the first is the image"
        assert name == "drop" or not all(np.array_equal(picture, plain) for picture in row[1:]), name


def test_what_is_asked_for(tmp_path: Path) -> None:
    image = save(tmp_path / "a.png", colored((90, 60), (150, 90, 130), 0))
    assert write_augmentation_sheet(image, tmp_path / "one.png", "blur=3").text() == "blur=3"
    assert len(pictures(tmp_path / "one.png")) == 1
    grey = save(tmp_path / "grey.png", colored((90, 60), (150,), 0))
    for text, message in (("stain", "--augment: stain is for images of red"), ("sepia", "--augment has no 'sepia'"),
                          ("blur=0", "--augment: names nothing to show")):  # fmt: skip
        with pytest.raises(FitError, match=message):
            write_augmentation_sheet(grey, tmp_path / "no.png", text)
    assert not (tmp_path / "no.png").exists()
