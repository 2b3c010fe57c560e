"""Compares FIT and a U-Net on real images that packages ship: mosaics of textures, and nuclei.

    python -m benchmarks.learning.real_pixels textures|nuclei --work FOLDER [--minutes 6] [--run RUN] [--out FILE.json]

Needs the packages scikit-image (textures) and stardist (nuclei): only their images are read, nothing of them is run.

textures   Cells of brick, grass and gravel, each of equal mean and contrast, turned and lit at random. The left halves
           of the photographs make 40 scenes of 384 pixels to train on, the right halves 4 test scenes of 1024.
nuclei     A fluorescence image of 512 x 512 pixels with 125 nuclei: the left 320 columns to train on, the rest to test.

Writes FOLDER/data.csv and FOLDER/classes.json; train the run on one thread for as many CPU minutes as the U-Net gets:

    fit train FOLDER/data.csv --task segment --classes FOLDER/classes.json --out RUN ...

The U-Net is that of benchmarks.learning.segment: 24 channels, four halvings, cells of 2 pixels, tiles of 256 pixels.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.learning.segment import read_scenes, result_row, score_fit, score_unet, train_unet
from benchmarks.support.machine import save_results
from fitcli.files.publish import publish_csv

TEXTURES = ("brick", "grass", "gravel")
MEAN, CONTRAST = 128.0, 45.0
"""Mean and standard deviation of every texture, so that neither tells them apart."""

TRAINED, TESTED = (40, 384), (4, 1024)
"""Number and side of the scenes of textures."""

CELL = 110
"""Mean distance of the cells of a mosaic in pixels."""

COLUMNS = 320
"""Columns of the nuclei to train on; the others are for the test."""

Scene = tuple[str, NDArray[np.uint8], NDArray[np.uint8], str]
"""Name, pixels [height width], labels [height width] and split of an image."""


def package_file(package: str, *parts: str) -> Path:
    """Return a file of an installed package without importing it."""
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise SystemExit(f"install the package {package} for its images")
    return Path(next(iter(found.submodule_search_locations))).joinpath(*parts)


def photograph(texture: str) -> Image.Image:
    """Return the photograph of a texture that scikit-image ships, in grey."""
    return Image.open(package_file("skimage", "data", f"{texture}.png")).convert("L")


def textures() -> Iterator[Scene]:
    """Yield mosaics: those to train on from the left halves of the photographs, the test from the right halves."""
    whole = [np.asarray(photograph(name)) for name in TEXTURES]
    for split, (count, side), left in (("train", TRAINED, 0), ("test", TESTED, whole[0].shape[1] // 2)):
        halves = [_evened(each[:, left : left + each.shape[1] // 2]) for each in whole]
        for number in range(count):
            rng = np.random.default_rng([number, left])
            yield f"{split}-{number}", *mosaic(halves, side, rng), split


def _evened(pixels: NDArray[Any]) -> NDArray[np.float64]:
    values = pixels.astype(np.float64)
    return np.asarray(MEAN + CONTRAST * (values - values.mean()) / values.std())


def mosaic(
    textures: list[NDArray[np.float64]], side: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return pixels and labels of a square mosaic, each cell of which shows a texture at a random place and angle."""
    points = rng.uniform(0, side, (max(3, (side // CELL) ** 2), 2))
    y, x = np.mgrid[:side, :side]
    cells = np.argmin([(y - p) ** 2 + (x - q) ** 2 for p, q in points], axis=0)
    pixels, labels = np.empty((side, side)), np.empty((side, side), np.uint8)
    for cell in range(len(points)):
        inside, kind = cells == cell, int(rng.integers(len(textures)))
        shown = np.rot90(textures[kind], int(rng.integers(4)))
        top, left = rng.integers(0, 1000, 2)
        rows, columns = (_mirrored(np.arange(side) + at, n) for at, n in zip((top, left), shown.shape, strict=True))
        pixels[inside] = (shown[rows][:, columns] * rng.uniform(0.85, 1.15))[inside]
        labels[inside] = kind
    return pixels.clip(0, 255).astype(np.uint8), labels


def _mirrored(places: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    turned = places % (2 * length)
    return np.asarray(np.where(turned < length, turned, 2 * length - 1 - turned))


def nuclei() -> Iterator[Scene]:
    """Yield the two parts of the image of nuclei, in 8 bits from its 1st to its 99.8th percentile."""
    image = tifffile.imread(package_file("stardist", "data", "images", "img2d.tif")).astype(np.float64)
    mask = tifffile.imread(package_file("stardist", "data", "images", "mask2d.tif")) > 0
    low, high = np.percentile(image, (1, 99.8))
    pixels = (255 * ((image - low) / (high - low)).clip(0, 1)).round().astype(np.uint8)
    for split, part in (("train", slice(0, COLUMNS)), ("test", slice(COLUMNS, None))):
        yield split, pixels[:, part], mask[:, part].astype(np.uint8), split


KINDS: dict[str, tuple[tuple[str, ...], Callable[[], Iterator[Scene]]]] = {
    "textures": (TEXTURES, textures),
    "nuclei": (("background", "nucleus"), nuclei),
}
"""Classes and images of each data set."""


def make_data(kind: str, work: Path) -> Path:
    """Write a data set as colour PNG, since the U-Net takes three channels; return its listing."""
    work.mkdir(parents=True, exist_ok=True)
    classes, scenes = KINDS[kind]
    rows = [("path", "labels", "split")]
    for name, pixels, labels, split in scenes():
        Image.fromarray(np.repeat(pixels[..., None], 3, axis=2)).save(work / f"{name}.png")
        Image.fromarray(labels).save(work / f"{name}-labels.png")
        rows.append((f"{name}.png", f"{name}-labels.png", split))
    (work / "classes.json").write_text(json.dumps({name: value for value, name in enumerate(classes)}))
    with publish_csv(work / "data.csv") as table:
        table.write_rows(rows)
    return work / "data.csv"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=list(KINDS))
    parser.add_argument("--work", type=Path, required=True, help="folder for the data set")
    parser.add_argument("--minutes", type=float, default=6, help="CPU minutes of the U-Net; 0: none")
    parser.add_argument("--run", type=Path, help="run folder of FIT")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    classes, listing = KINDS[options.kind][0], make_data(options.kind, options.work)
    side, rows = {"textures": TESTED[1], "nuclei": 512}[options.kind], []
    if options.minutes > 0:
        model, trained = train_unet(read_scenes(listing, "train"), options.minutes, options.seed, len(classes))
        start = time.perf_counter()
        scores = score_unet(model, listing, classes)
        row = result_row("U-Net", options.kind, side, scores, time.perf_counter() - start)
        rows.append(row | {"training": trained})
    if options.run is not None:
        start = time.perf_counter()
        scores = score_fit(options.run, listing)
        rows.append(result_row("FIT", options.kind, side, scores, time.perf_counter() - start))
    save_results(options.out, ["torch", "numpy"], {"rows": rows}, threads=1)


if __name__ == "__main__":
    main()
