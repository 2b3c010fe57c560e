"""Plans images in which the sign of their class is planted at known places, and writes them with listings.

FOLDER/train.csv, or FOLDER/train/CLASS/...    the data set for `fit train`
FOLDER/test/...                                images of other patients or scenes, as large as those
FOLDER/rim/..., corner/..., middle/...         the same with a single planted place, where the name of the folder says
FOLDER/large/...                               images with sides eight times as long
FOLDER/planted.json                            group, class and planted places of every image
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitcli.images.base import ImageInfo
from fitcli.images.open import create_image
from fitcli.images.window import Window

STRIP = 512
"""Rows of an image that are drawn at a time."""

TEST_IMAGES, POINTED_IMAGES, LARGE_IMAGES = 40, 8, 4
"""Number of images with random places, of each kind of place, and of large ones, over all classes."""

ENLARGED = 8
"""Side of the large images as a multiple of that of the training images."""

WHERE = ("rim", "corner", "middle")
"""Kinds of places, each with images of its own."""

Values = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Place:
    """A disk with the sign of the class, in pixels."""

    y: float
    x: float
    radius: float


@dataclass(frozen=True, slots=True)
class PlannedImage:
    """An image before it is drawn.

    Attributes:
        path: File below the folder of the data set.
        part: "train", "test", "large", or one of `WHERE`.
        group: Patient or scene; groups of the training images occur nowhere else.
        label: Class.
        seed: Seed of the pixels.
        number: Number of the image in its part.
        height, width: Size in pixels.
        places: Planted places.
    """

    path: str
    part: str
    group: int
    label: str
    seed: tuple[int, ...]
    number: int
    height: int
    width: int
    places: tuple[Place, ...]

    def rng(self, *more: int) -> np.random.Generator:
        """Return random numbers of this image."""
        return np.random.default_rng([*self.seed, *more])


@dataclass(frozen=True, kw_only=True, slots=True)
class PlantedKind:
    """A kind of data set.

    Attributes:
        classes: Classes.
        pointed: Classes whose images have planted places.
        images: Number of images to train on and to validate with, over all classes.
        per_group: Images of one patient or scene.
        sides: Smallest and largest side in pixels.
        radii: Smallest and largest radius of a place in pixels.
        places: Smallest and largest number of places. Large images have this number times the factor of their sides.
        clear: Whether a place may lie here: image, place.
        path: Name of a file without its folder: number, group.
        info: Description of an image.
        painter: Prepares an image; the result draws a strip.
        in_folders: Whether folders name the classes; else a CSV file.
        split: Whether the CSV file splits patients; else `fit train` holds images out.
    """

    classes: tuple[str, ...]
    pointed: tuple[str, ...]
    images: int
    per_group: int
    sides: tuple[int, int]
    radii: tuple[float, float]
    places: tuple[int, int]
    clear: Callable[[PlannedImage, Place], bool]
    path: Callable[[int, int], str]
    info: Callable[[PlannedImage], ImageInfo]
    painter: Callable[[PlannedImage], Callable[[Window], NDArray[Any]]]
    in_folders: bool = False
    split: bool = False


def plan(kind: PlantedKind, seed: int) -> Iterator[PlannedImage]:
    """Plan all images of a data set; the same seed always gives the same ones."""
    parts = [
        ("train", kind.images),
        ("test", TEST_IMAGES),
        *((w, POINTED_IMAGES) for w in WHERE),
        ("large", LARGE_IMAGES),
    ]
    first = 0
    for code, (part, count) in enumerate(parts):
        for number in range(count):
            yield _planned(kind, part, number, first + number // kind.per_group, (seed, code, number))
        first += -(-count // kind.per_group)


def _planned(kind: PlantedKind, part: str, number: int, group: int, seed: tuple[int, ...]) -> PlannedImage:
    rng = np.random.default_rng([*seed, 0])
    classes = kind.pointed if part in WHERE else kind.classes
    label, factor = classes[number // kind.per_group % len(classes)], ENLARGED if part == "large" else 1
    height, width = (int(factor * side) for side in rng.integers(*kind.sides, 2, endpoint=True))
    name = kind.path(number, group)
    folder = f"train/{label}" if part == "train" and kind.in_folders else part
    image = PlannedImage(f"{folder}/{name}", part, group, label, seed, number, height, width, ())
    if label not in kind.pointed:
        return image
    count = 1 if part in WHERE else factor * int(rng.integers(*kind.places, endpoint=True))
    places: list[Place] = []
    while len(places) < count:
        place = _draw_place(rng, part, height, width, rng.uniform(*kind.radii))
        far = all(np.hypot(place.y - p.y, place.x - p.x) > place.radius + p.radius for p in places)
        if far and kind.clear(image, place):
            places.append(place)
    return PlannedImage(image.path, part, group, label, seed, number, height, width, tuple(places))


def _draw_place(rng: np.random.Generator, part: str, height: int, width: int, radius: float) -> Place:
    """Draw a place that touches the edges that the part asks for, else anywhere on the image."""
    y, x = rng.uniform(radius, height - radius), rng.uniform(radius, width - radius)
    if part == "middle":
        y, x = height * rng.uniform(0.35, 0.65), width * rng.uniform(0.35, 0.65)
    along_rows = part == "corner" or (part == "rim" and rng.random() < 0.5)
    if along_rows:
        y = (radius, height - radius)[rng.integers(2)]
    if part == "corner" or (part == "rim" and not along_rows):
        x = (radius, width - radius)[rng.integers(2)]
    return Place(round(float(y), 1), round(float(x), 1), round(radius, 1))


def make(kind: PlantedKind, folder: Path, seed: int = 0) -> list[PlannedImage]:
    """Write the images that are not there yet, and their listings; return the images."""
    images = list(plan(kind, seed))
    for image in images:
        path = folder / image.path
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _write(path, image, kind)
    rows = [image for image in images if image.part == "train"]
    if not kind.in_folders:
        with (folder / "train.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(_listing(kind, rows))
    (folder / "planted.json").write_text(json.dumps([asdict(image) for image in images], indent=1) + "\n")
    return images


def training_data(kind: PlantedKind, folder: Path) -> Path:
    """Return what `fit train` gets."""
    return folder / ("train" if kind.in_folders else "train.csv")


def _listing(kind: PlantedKind, images: list[PlannedImage]) -> Iterator[list[object]]:
    yield ["path", "patient", "label", "split"] if kind.split else ["path", "label"]
    trained = 0.8 * kind.images / kind.per_group
    for image in images:
        split = "train" if image.group < trained else "val"
        yield [image.path, f"P{image.group:02}", image.label, split] if kind.split else [image.path, image.label]


def _write(path: Path, image: PlannedImage, kind: PlantedKind) -> None:
    """Write an image. `.svs` is the suffix of slide scanners for a TIFF with tiles."""
    info, draw = kind.info(image), kind.painter(image)
    written = path.with_suffix(".tif") if path.suffix == ".svs" else path
    text = None if info.mpp is None or path.suffix != ".svs" else f"Aperio planted\r\n|AppMag = 20|MPP = {info.mpp}"
    with create_image(written, info, chunk=256, description=text) as canvas:
        for top in range(0, image.height, STRIP):
            window = Window(top, 0, STRIP, image.width).clip(image.height, image.width)
            canvas.write(window, draw(window))
    if written != path:
        written.rename(path)


class SmoothNoise:
    """Fractal noise with a standard deviation of about 1, drawn window by window.

    Args:
        rng: Random numbers.
        height, width: Size of the image in pixels.
        spacings: Distances of the points between which the noise is interpolated, in pixels.
    """

    def __init__(self, rng: np.random.Generator, height: int, width: int, spacings: tuple[int, ...]) -> None:
        self._lattices = {s: rng.standard_normal((height // s + 3, width // s + 3), np.float32) for s in spacings}

    def draw(self, window: Window) -> Values:
        """Draw [height width]."""
        total = np.zeros((window.height, window.width), np.float32)
        for spacing, lattice in self._lattices.items():
            down, across = (
                _weights(*span, spacing) for span in ((window.top, window.height), (window.left, window.width))
            )
            near = lattice[down[0] : down[0] + down[1].shape[1], across[0] : across[0] + across[1].shape[1]]
            total += down[1] @ near @ across[1].T
        # The interpolation takes about two thirds of the standard deviation.
        return np.asarray(total * 1.5 / np.sqrt(len(self._lattices)), np.float32)


def _weights(start: int, count: int, spacing: int) -> tuple[int, Values]:
    """Return the first of the points around some pixels, and the weights [pixels points] of each."""
    positions = np.arange(start, start + count, dtype=np.float32) / spacing
    first = start // spacing
    points = np.arange(first, (start + count - 1) // spacing + 2)
    near = np.clip(1 - np.abs(positions[:, None] - points), 0, 1)
    return first, np.asarray(near * near * (3 - 2 * near), np.float32)


def draw_disks(target: Values, window: Window, disks: NDArray[np.float64]) -> None:
    """Draw disks with soft edges on a window; where they overlap, the strongest counts.

    Args:
        target: [height width] of the window.
        window: The window.
        disks: (y, x, radius, strength) of each disk.
    """
    for y, x, radius, strength in _near(window, disks, 2 + disks[:, 2]):
        box, distance = _around(window, y, x, radius + 2)
        part = target[box]
        np.maximum(part, strength * np.clip(radius + 0.5 - distance, 0, 1), out=part)


def add_spots(target: Values, window: Window, spots: NDArray[np.float64]) -> None:
    """Add spots of light to a window: (y, x, standard deviation, sum) of each."""
    for y, x, width, total in _near(window, spots, 4 * spots[:, 2]):
        box, distance = _around(window, y, x, 4 * width)
        target[box] += total / (2 * np.pi * width**2) * np.exp(-0.5 * (distance / width) ** 2)


def _near(window: Window, things: NDArray[np.float64], reach: NDArray[np.float64]) -> NDArray[np.float64]:
    return things[(things[:, 0] + reach > window.top) & (things[:, 0] - reach < window.top + window.height)]


def _around(window: Window, y: float, x: float, reach: float) -> tuple[tuple[slice, slice], Values]:
    """Return the part of a window around a point, and the distance of its pixels from the point."""
    rows = slice(max(0, int(y - reach) - window.top), max(0, int(y + reach) + 2 - window.top))
    columns = slice(max(0, int(x - reach) - window.left), max(0, int(x + reach) + 2 - window.left))
    down = np.arange(window.top, window.top + window.height, dtype=np.float32)[rows] - np.float32(y)
    across = np.arange(window.left, window.left + window.width, dtype=np.float32)[columns] - np.float32(x)
    return (rows, columns), np.hypot(down[:, None], across)


def jittered(
    rng: np.random.Generator, top: float, left: float, height: float, width: float, pitch: float
) -> NDArray[np.float64]:
    """Return points (y, x) on a grid, each moved at random by less than half of the pitch."""
    y, x = np.meshgrid(np.arange(top, top + height, pitch), np.arange(left, left + width, pitch), indexing="ij")
    points = np.stack([y.ravel(), x.ravel()], axis=1)
    return points + rng.uniform(0.1, 0.9, points.shape) * pitch


def inside(points: NDArray[np.float64], place: Place) -> NDArray[np.bool_]:
    """Return which of some points (y, x) lie in a place."""
    return np.hypot(points[:, 0] - place.y, points[:, 1] - place.x) < place.radius
