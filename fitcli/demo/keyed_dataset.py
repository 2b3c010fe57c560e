"""Writes the data set of keyed scenes: images with label images beside them, always the same.

FOLDER/images/000.png ...    scenes of 128 to 384 pixels per side, as PNG and TIFF (JPEG) files
FOLDER/labels/000.png ...    their labels: grey PNG files whose values are the numbers of classes, 255 for no label
FOLDER/swapped/000.png ...   other labels of the same scenes, in which two textures swap their names
FOLDER/large.tif             one pyramidal TIFF (JPEG) for the test, with large-labels.png and large-swapped.png
FOLDER/classes.json          the name of every class, by its number
FOLDER/scenes.csv            all images with their labels and splits; swapped.csv is the same with the swapped labels
FOLDER/small.csv             the scenes of 128 pixels alone, which are the quickest to learn from
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fitcli.demo.keyed_scenes import CLASSES, KeyedScene
from fitcli.demo.make_files import SceneImage, Stop, make_files, scene_seed, write_scene_images
from fitcli.files.publish import publish_csv, write_text
from fitcli.images.window import Window

SCENES = 480

SIDES = (128, 256, 128, 384, 128, 256)
"""Sides that the scenes take in turn, in pixels: several relations of the key's size to the scene's, and more scenes of
the sizes that cost less."""

SUFFIXES = (".png", ".tif")
"""Formats that the images take in turn."""

HELD_OUT = 8
"""One in so many scenes of every size chooses the best weights."""

LARGE_SIDE = 2048

KINDS = {"labels": False, "swapped": True}
"""Folders of labels, and whether both textures without a name of their own are labelled there."""


@dataclass(frozen=True, slots=True)
class SceneFile:
    """A scene of the data set.

    Attributes:
        image: Path of the image below the folder of the data set.
        labels: Path of its labels of each kind.
        split: Split of the scene.
        scene: The scene.
    """

    image: str
    labels: dict[str, str]
    split: str
    scene: KeyedScene


def scene_files(seed: int = 0) -> list[SceneFile]:
    """Return the scenes of the data set, the large one first, without rendering them."""
    rng = np.random.default_rng([seed, 0])
    # As many blue keys as red ones.
    blue = rng.permutation(SCENES + 1) % 2 == 1
    labels = {kind: f"large-{kind}.png" for kind in KINDS}
    files = [
        SceneFile("large.tif", labels, "test", KeyedScene(scene_seed(seed, 0), LARGE_SIDE, LARGE_SIDE, bool(blue[0])))
    ]
    for number in range(SCENES):
        side, turn = SIDES[number % len(SIDES)], number // len(SIDES)
        scene = KeyedScene(scene_seed(seed, number + 1), side, side, bool(blue[number + 1]))
        labels = {kind: f"{kind}/{number:03}.png" for kind in KINDS}
        image = f"images/{number:03}{SUFFIXES[turn % len(SUFFIXES)]}"
        files.append(SceneFile(image, labels, "val" if turn % HELD_OUT == HELD_OUT - 1 else "train", scene))
    return files


def make_demo(folder: Path, seed: int = 0, advance: Callable[[float], None] = lambda fraction: None) -> int:
    """Write the data set: all of it, or nothing if it fails or is interrupted.

    Args:
        folder: The folder of the data set; absent or empty.
        seed: The seed of the pixels: the same seed always gives the same ones.
        advance: Receives the fraction of the work that was just done.

    Returns:
        The number of images.

    Raises:
        FitError: The folder is not empty or cannot be made.
        ImageError: A file cannot be written.
    """
    files = scene_files(seed)
    writers = [
        partial(
            write_scene, file.scene, folder / file.image, {kind: folder / name for kind, name in file.labels.items()}
        )
        for file in files
    ]
    make_files(folder, ["images", *KINDS], writers, lambda: _describe(folder, files), advance)
    return len(files)


def write_scene(scene: KeyedScene, image: Path, labels: dict[str, Path], stop: Stop = lambda: None) -> None:
    """Write the image of a scene and its labels of each kind."""

    def render(window: Window) -> list[NDArray[np.uint8]]:
        pixels, textures = scene.render(window)
        return [pixels, *(scene.labels(textures, KINDS[kind]) for kind in labels)]

    images = [SceneImage(image), *(SceneImage(path, labels=True) for path in labels.values())]
    write_scene_images((scene.height, scene.width), images, render, stop)


def write_classes(path: Path) -> None:
    """Write the names of the classes by their numbers."""
    write_text(path, json.dumps({str(number): name for number, name in enumerate(CLASSES)}, indent=1) + "\n")


def write_listing(path: Path, files: list[SceneFile], kind: str) -> None:
    """Write a CSV that lists scenes with their labels of one kind."""
    with publish_csv(path) as table:
        table.write_rows([("path", "labels", "split"), *((f.image, f.labels[kind], f.split) for f in files)])


def _describe(folder: Path, files: list[SceneFile]) -> None:
    write_classes(folder / "classes.json")
    write_listing(folder / "scenes.csv", files, "labels")
    write_listing(folder / "swapped.csv", files, "swapped")
    write_listing(folder / "small.csv", [file for file in files if file.scene.width == min(SIDES)], "labels")
