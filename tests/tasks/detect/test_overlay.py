"""Pictures of found objects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from support.pictures import save

from fitcli.annotations.class_table import ClassTable
from fitcli.annotations.objects.found_objects import FoundObjects
from fitcli.images.open import open_image
from fitcli.images.window import Window
from fitcli.tasks.detect import overlay
from fitcli.tasks.detect.overlay import image_view, picture_bytes, write_overlay

TABLE = ClassTable(("a", "b"), (0, 1), ((255, 0, 0), (0, 255, 0)))


def drawn(folder: Path, boxes: object, pixels: np.ndarray, numbers: tuple[int, ...] = (0,)) -> np.ndarray:
    found = FoundObjects(
        np.array(boxes, float), np.full(len(numbers), 0.5, np.float32), np.array(numbers, np.int32), False
    )
    with open_image(save(folder / "i.tif", pixels)) as image:
        write_overlay(folder / "o.png", image, found, TABLE)
    with open_image(folder / "o.png") as picture:
        return picture.read(Window(0, 0, *picture.info.size))


def test_sides_have_the_colour_of_the_class(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3)).astype(np.uint8)
    picture = drawn(tmp_path, [(10, 5, 30, 20), (50, 30, 90, 90)], pixels, (0, 1))
    assert picture.shape == (40, 60, 3)
    assert (picture[5, 10:31] == (255, 0, 0)).all()
    assert (picture[5:21, 30] == (255, 0, 0)).all()
    assert (picture[30:, 50] == (0, 255, 0)).all()
    assert not (picture[10, 15] == (255, 0, 0)).all()


def test_points_are_small_squares(tmp_path: Path) -> None:
    picture = drawn(tmp_path, [(20, 20, 20, 20)], np.zeros((40, 60, 3), np.uint8))
    assert (picture[17, 17:24] == (255, 0, 0)).all()


def test_a_large_image_becomes_small(tmp_path: Path, monkeypatch: object) -> None:
    overlay_side = overlay.LONGEST_SIDE
    try:
        overlay.LONGEST_SIDE = 32
        picture = drawn(tmp_path, [(20, 20, 60, 60)], np.zeros((100, 200, 3), np.uint8))
    finally:
        overlay.LONGEST_SIDE = overlay_side
    assert max(picture.shape) <= 32
    assert (picture == (255, 0, 0)).all(axis=-1).any()


def test_grey_and_missing_values(tmp_path: Path) -> None:
    values = np.linspace(0, 1000, 60 * 40, dtype=np.float32).reshape(40, 60, 1)
    values[0, 0] = np.nan
    with open_image(save(tmp_path / "i.tif", values)) as image:
        view = image_view(image)
        assert picture_bytes(image.info) > view.nbytes
    assert view.shape == (40, 60, 3)
    assert view[0, 0].tolist() == [0, 0, 0]
    assert view[-1, -1].tolist() == [255, 255, 255]
