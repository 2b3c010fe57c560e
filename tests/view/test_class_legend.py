"""Names and colours of classes come from where `fit segment` writes them, in every format of its maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fitcli.annotations.class_table import ClassTable
from fitcli.images.array_image import ArrayReader
from fitcli.images.base import ImageInfo
from fitcli.images.open import create_image, open_image
from fitcli.images.window import Window
from fitcli.tasks.segment.class_map import legend
from fitcli.view.class_legend import class_legend, described_classes, distinct_colors

NAMES = ("background", "tumor, solid", "a=b")
PALETTE = ((60, 60, 60), (230, 159, 0), (1, 2, 3))


def write_map(path: Path, palette: bool = True, names: bool = True) -> Path:
    info = ImageInfo(
        height=60, width=80, channels=1, dtype=np.dtype(np.uint8), nodata=255,
        palette=(*PALETTE, *[(255, 255, 255)] * 253) if palette else (),
    )  # fmt: skip
    text = legend(ClassTable(NAMES, (0, 1, 2))) if names else None
    classes = NAMES if names else ()
    with create_image(path, info, resampling="nearest", description=text, classes=classes) as canvas:
        canvas.write(Window(0, 0, 60, 80), (np.arange(60) // 20).astype(np.uint8)[:, None, None].repeat(80, 1))
    return path


@pytest.mark.parametrize("suffix", [".tif", ".ome.tif", ".zarr"])
def test_maps_keep_their_names_and_colours(tmp_path: Path, suffix: str) -> None:
    with open_image(write_map(tmp_path / f"map{suffix}"), indices=True) as image:
        found = class_legend(image, image.read(Window(0, 0, 60, 80)))
    assert found is not None
    assert found.names == dict(enumerate(NAMES))
    # An OME-TIFF has no place for colours: they are those that a map of these classes has.
    assert found.colors == dict(enumerate([*PALETTE[:2], (86, 180, 233)] if suffix == ".ome.tif" else PALETTE))
    table = found.table()
    assert table[255].tolist() == [0, 0, 0, 0]
    assert table[1].tolist() == [*found.colors[1], 255]


def test_a_png_has_its_palette_and_the_values_that_it_holds(tmp_path: Path) -> None:
    with open_image(write_map(tmp_path / "map.png"), indices=True) as image:
        found = class_legend(image, image.read(Window(0, 0, 60, 80)))
    assert found is not None
    assert found.names == {0: "0", 1: "1", 2: "2"}
    assert found.colors[1] == PALETTE[1]


def test_grey_and_colours_are_no_classes(tmp_path: Path) -> None:
    with open_image(write_map(tmp_path / "map.tif", palette=False, names=False), indices=True) as image:
        assert class_legend(image, image.read(Window(0, 0, 60, 80))) is None
    for dtype, channels in ((np.float32, 1), (np.uint8, 3)):
        assert class_legend(ArrayReader(np.zeros((4, 4, channels), dtype)), np.zeros(1)) is None


def test_a_description_that_names_no_classes() -> None:
    assert described_classes("Evidence: times the even share") == {}
    assert described_classes("classes: ; 255=not looked at") == {}


def test_any_number_of_names_gets_colours() -> None:
    colors = distinct_colors(["Background", "", "", *map(str, range(300))])
    assert len(colors) == 303
    assert colors[0] == (60, 60, 60)
    assert len(set(colors[1:200])) > 150
