"""A data set is made whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fitcli.demo.make_files import RENDERED, SceneImage, Stop, make_files, windows, write_scene_images
from fitcli.errors import FitError
from fitcli.images.open import open_image
from fitcli.images.window import Window


def test_windows_cover_an_image_once() -> None:
    found = list(windows(RENDERED + 1, 2 * RENDERED))
    assert sum(window.area for window in found) == (RENDERED + 1) * 2 * RENDERED
    assert [(window.top, window.left) for window in found] == [
        (0, 0),
        (0, RENDERED),
        (RENDERED, 0),
        (RENDERED, RENDERED),
    ]


def test_all_files_are_made_and_described_last(tmp_path: Path) -> None:
    fractions: list[float] = []

    def write(stop: Stop) -> None:
        stop()
        (tmp_path / "data/a/file").touch()

    def finish() -> None:
        assert (tmp_path / "data/a/file").exists()
        (tmp_path / "data/list").touch()

    make_files(tmp_path / "data", ["a", "b"], [write, write], finish, fractions.append)
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["a", "b", "list"]
    assert fractions == [0.5, 0.5]


def test_the_images_of_a_scene_show_the_same_windows(tmp_path: Path) -> None:
    images = [SceneImage(tmp_path / "scene.tif", mpp=0.5), SceneImage(tmp_path / "labels.png", labels=True)]
    whole = np.arange(600 * 20, dtype=np.uint32).reshape(600, 20).astype(np.uint8)
    stops: list[int] = []

    def render(window: Window) -> list[np.ndarray[Any, np.dtype[np.uint8]]]:
        own = whole[window.slices()]
        return [np.zeros((*own.shape, 3), np.uint8), own]

    write_scene_images(whole.shape, images, render, lambda: stops.append(1))
    with open_image(images[0].path) as scene, open_image(images[1].path) as labels:
        assert (scene.info.size, scene.info.channels, scene.info.mpp) == (whole.shape, 3, 0.5)
        np.testing.assert_array_equal(labels.read(Window(0, 0, *whole.shape))[..., 0], whole)
    assert len(stops) == 2, "one per window"


def test_a_failure_stops_the_other_files_and_leaves_nothing(tmp_path: Path) -> None:
    def fail(stop: Stop) -> None:
        raise FitError("no more room")

    def never_ends(stop: Stop) -> None:
        while True:
            stop()

    with pytest.raises(FitError, match="no more room"):
        make_files(tmp_path / "data", ["a"], [fail, never_ends], lambda: None, lambda fraction: None)
    assert not list(tmp_path.iterdir())


def test_a_folder_with_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(FitError, match="is not an empty folder"):
        make_files(tmp_path, [], [], lambda: None, lambda fraction: None)
