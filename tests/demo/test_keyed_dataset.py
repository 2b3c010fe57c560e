"""The data set of keyed scenes: images with labels beside them, listed with splits."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from fitcli.demo import keyed_dataset
from fitcli.demo.keyed_dataset import KINDS, make_demo, scene_files, write_scene
from fitcli.demo.keyed_scenes import CLASSES, UNLABELLED, KeyedScene
from fitcli.images.open import open_image
from fitcli.images.window import Window


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Eighteen scenes and a large one of 700 pixels."""
    monkeypatch.setattr(keyed_dataset, "SCENES", 18)
    monkeypatch.setattr(keyed_dataset, "LARGE_SIDE", 700)
    monkeypatch.setattr(keyed_dataset, "HELD_OUT", 2)
    assert make_demo(tmp_path / "data") == 19
    return tmp_path / "data"


def read(path: Path) -> np.ndarray:
    with open_image(path) as image:
        return image.read(Window(0, 0, *image.info.size))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_image_has_labels_of_its_size(folder: Path) -> None:
    for listing, kind in (("scenes.csv", "labels"), ("swapped.csv", "swapped")):
        listed = rows(folder / listing)
        assert len(listed) == 19
        for row in listed:
            pixels, labels = read(folder / row["path"]), read(folder / row["labels"])
            assert kind in row["labels"]
            assert pixels.shape == (*labels.shape[:2], 3)
            assert (labels.shape[2], labels.dtype) == (1, np.uint8)
            assert set(np.unique(labels)) <= {*range(len(CLASSES)), UNLABELLED}
    assert json.loads((folder / "classes.json").read_text()) == {str(n): name for n, name in enumerate(CLASSES)}


def test_stems_of_images_and_labels_agree(folder: Path) -> None:
    images = {path.stem for path in (folder / "images").iterdir()}
    assert len(images) == 18
    for kind in KINDS:
        assert {path.stem for path in (folder / kind).iterdir()} == images
        assert {path.suffix for path in (folder / kind).iterdir()} == {".png"}


def test_labels_are_those_of_the_scenes(folder: Path) -> None:
    """Rendered in the windows of the files, the large scene too."""
    for file in scene_files()[:4]:
        shown, labels = read(folder / file.image), read(folder / file.labels["swapped"])[..., 0]
        window = Window(0, 0, 128, 128)
        _, textures = file.scene.render(window)
        np.testing.assert_array_equal(labels[window.slices()], file.scene.labels(textures, both=True))
        np.testing.assert_allclose(shown[file.scene.key.slices()].mean((0, 1)).argmax(), 2 if file.scene.blue else 0)


def test_labels_are_exact_at_all_levels_of_a_pyramid(tmp_path: Path) -> None:
    scene = KeyedScene(1, 700, 640, True)
    write_scene(scene, tmp_path / "image.tif", {"swapped": tmp_path / "labels.tif"})
    with open_image(tmp_path / "labels.tif") as labels:
        whole = labels.read(Window(0, 0, 512, 512))[..., 0]
        half = labels.read(Window(0, 0, 350, 320), level=1)[..., 0]
        assert len(labels.info.levels) > 1
    np.testing.assert_array_equal(whole, scene.labels(scene.render(Window(0, 0, 512, 512))[1], both=True))
    # A mean of classes would be another class at the borders of regions.
    corners = [read(tmp_path / "labels.tif")[y::2, x::2, 0] for y in (0, 1) for x in (0, 1)]
    assert any(np.array_equal(half, corner) for corner in corners)


def test_splits_and_keys_are_spread_over_the_sizes() -> None:
    files = scene_files()
    assert [file.split for file in files].count("test") == 1
    for side in (128, 256, 384):
        splits = [file.split for file in files[1:] if file.scene.width == side]
        assert 0.1 < splits.count("val") / len(splits) < 0.15
    for split in ("train", "val"):
        blue = [file.scene.blue for file in files if file.split == split]
        assert 0.35 < np.mean(blue) < 0.65
    assert len({file.scene.seed for file in files}) == len(files)


def test_the_small_scenes_are_listed_alone(folder: Path) -> None:
    small = rows(folder / "small.csv")
    assert {read(folder / row["path"]).shape[:2] for row in small} == {(128, 128)}
    assert {row["path"] for row in small} < {row["path"] for row in rows(folder / "scenes.csv")}
    assert {row["split"] for row in small} == {"train", "val"}


def test_another_seed_gives_other_scenes() -> None:
    assert not {file.scene.seed for file in scene_files(0)} & {file.scene.seed for file in scene_files(1)}
