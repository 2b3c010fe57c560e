"""Writes the data set of `fit demo`: a small one of real files, always the same.

FOLDER/checks/000.tif ...    three classes of images of different sizes: TIFF, OME-Zarr and PNG files
FOLDER/large.tif             one held-out pyramidal TIFF, many times larger than the training images
FOLDER/truth.json            the class of every file, and the places of its marks
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fitcli.demo.make_files import SceneImage, Stop, make_files, scene_seed, write_scene_images
from fitcli.demo.scenes import CLASSES, Scene
from fitcli.files.publish import write_text

IMAGES_PER_CLASS = 80

SIDES = (512, 2048)
"""Smallest and largest side of the images, in pixels; most are small, see `_size`."""

SUFFIXES = (".tif", ".zarr", ".tif", ".png")
"""Formats that the images of a class take in turn."""

LARGE_SIDE = 6400
LARGE_CLASS = "rings"

LARGE_MARKS = 40

MPP = 0.5
"""Microns per pixel in the metadata of the files."""


@dataclass(frozen=True, slots=True)
class DemoFile:
    """A file of the data set.

    Attributes:
        name: Path below the folder of the data set.
        scene: The scene in the image.
    """

    name: str
    scene: Scene


def demo_files(seed: int = 0) -> list[DemoFile]:
    """Return the files of the data set, the large one first, without rendering them."""
    large = Scene(scene_seed(seed, 0), LARGE_SIDE, LARGE_SIDE, LARGE_CLASS, LARGE_MARKS)
    files = [DemoFile("large.tif", large)]
    for number in range(IMAGES_PER_CLASS * len(CLASSES)):
        label, index = CLASSES[number % len(CLASSES)], number // len(CLASSES)
        rng = np.random.default_rng([seed, 1, number])
        height, width = _size(rng)
        scene = Scene(scene_seed(seed, number + 1), height, width, label, _marks(rng, height, width))
        files.append(DemoFile(f"{label}/{index:03}{SUFFIXES[index % len(SUFFIXES)]}", scene))
    return files


def _size(rng: np.random.Generator) -> tuple[int, int]:
    """Draw height and width in pixels. Half of the images have sides under 600 pixels, one in ten over 1000."""
    least, most = SIDES
    side = least * (most / least) ** (rng.random() ** 4)
    aspect = np.sqrt(rng.uniform(0.8, 1.25))
    return round(min(max(side * aspect, least), most)), round(min(max(side / aspect, least), most))


def _marks(rng: np.random.Generator, height: int, width: int) -> int:
    """Draw the number of marks: about five on the smallest images; more on larger ones, but fewer per area."""
    factor = math.sqrt(math.sqrt(height * width) / SIDES[0])
    return max(3, round(5 * factor * rng.uniform(0.75, 1.25)))


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
    files = demo_files(seed)

    def finish() -> None:
        truth = {file.name: _truth(file.scene) for file in files}
        write_text(folder / "truth.json", json.dumps(truth, indent=1) + "\n")

    writers = [partial(_write, folder / file.name, file.scene) for file in files]
    make_files(folder, CLASSES, writers, finish, advance)
    return len(files)


def _write(path: Path, scene: Scene, stop: Stop) -> None:
    image = SceneImage(path, mpp=MPP)
    write_scene_images((scene.height, scene.width), [image], lambda window: [scene.render(window)], stop)


def _truth(scene: Scene) -> dict[str, Any]:
    marks = [{"y": round(m.y, 1), "x": round(m.x, 1), "radius": round(m.radius, 1)} for m in scene.placed]
    return {"label": scene.label, "height": scene.height, "width": scene.width, "marks": marks}
