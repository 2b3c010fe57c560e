"""Writes the data set of marks: images and one CSV file of their boxes, always the same.

FOLDER/images/000.png ...    scenes of 512 pixels per side, as PNG and TIFF (JPEG) files
FOLDER/large.tif             one pyramidal TIFF (JPEG) of 2048 pixels per side for the test
FOLDER/marks.csv             the box and the name of every mark, and the split of its image
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fitcli.demo.make_files import SceneImage, Stop, make_files, scene_seed, write_scene_images
from fitcli.demo.mark_scenes import KINDS, MarkScene
from fitcli.files.publish import publish_csv

SCENES, TEST_SCENES = 160, 12

SIDE, LARGE_SIDE = 512, 2048

SUFFIXES = (".png", ".tif")
"""Formats that the images take in turn."""

HELD_OUT = 16
"""One in so many scenes chooses the best weights."""

COLUMNS = ("path", "xmin", "ymin", "xmax", "ymax", "label", "split")


@dataclass(frozen=True, slots=True)
class MarkedFile:
    """A scene of the data set.

    Attributes:
        image: Path of the image below the folder of the data set.
        split: Split of the scene.
        scene: The scene.
    """

    image: str
    split: str
    scene: MarkScene


def marked_files(seed: int = 0) -> list[MarkedFile]:
    """Return the scenes of the data set, the large one first, without rendering them."""
    files = [MarkedFile("large.tif", "test", MarkScene(scene_seed(seed, 0), LARGE_SIDE, LARGE_SIDE))]
    for number in range(SCENES + TEST_SCENES):
        scene = MarkScene(scene_seed(seed, number + 1), SIDE, SIDE)
        split = "test" if number >= SCENES else "val" if number % HELD_OUT == HELD_OUT - 1 else "train"
        files.append(MarkedFile(f"images/{number:03}{SUFFIXES[number % len(SUFFIXES)]}", split, scene))
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
    files = marked_files(seed)
    writers = [partial(write_marks, file.scene, folder / file.image) for file in files]
    make_files(folder, ["images"], writers, lambda: write_boxes(folder / "marks.csv", files), advance)
    return len(files)


def write_marks(scene: MarkScene, image: Path, stop: Stop = lambda: None) -> None:
    """Write the image of a scene."""
    write_scene_images((scene.height, scene.width), [SceneImage(image)], lambda window: [scene.render(window)], stop)


def write_boxes(path: Path, files: list[MarkedFile]) -> None:
    """Write the boxes of all scenes, a row each."""
    with publish_csv(path) as table:
        table.write_rows([COLUMNS, *(row for file in files for row in _rows(file))])


def _rows(file: MarkedFile) -> list[tuple[object, ...]]:
    return [
        (file.image, *(f"{value:.2f}" for value in box), KINDS[kind], file.split)
        for box, kind in zip(file.scene.boxes, file.scene.kinds.tolist(), strict=True)
    ]
