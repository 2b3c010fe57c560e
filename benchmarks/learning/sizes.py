"""Trains classifiers on small images and scores them on images of up to 16 times the side, on three data sets.

    python -m benchmarks.learning.sizes --data FOLDER --work FOLDER [--kinds marks digits fields] [--out FILE.json]
        [--plain]

The data folder holds the test set of MNIST as published. The kinds of pictures (`sized_pictures.py`):

marks: landscapes of `fit demo` of 320 pixels per side, with three marks; the class is the pattern of the marks. Larger
    ones have a few more marks, so the share of the marks in the area falls to a fiftieth at 16 times the side.
digits: canvases of Megapixel MNIST of 224 pixels with five digits, the majority of three classes, and six strokes of
    noise. Larger ones have five digits, too, and strokes in proportion to the side.
fields: cells of about 380 pixels, in three channels of 16 bits, with large or small spots of the same sum everywhere.

`fit train` trains each with the options in `KINDS`. All test pictures are new; they are drawn, classified, and removed.
With `--plain`, the factors for larger images that the run found (`sharpening` in `config.json`) are left out.
Goal: at 2, 4, 8 and 16 times the side at most 3 points below the accuracy at the side of training.
"""

from __future__ import annotations

import argparse
import csv
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.learning.digits import read_digits
from benchmarks.learning.sized_pictures import Draw, Picture, digit_canvases, fields, landscapes
from benchmarks.support.machine import save_results
from benchmarks.support.processes import run_python
from fitcli.device.runtime import choose_runtime
from fitcli.images.base import ImageInfo
from fitcli.images.open import create_image, open_image
from fitcli.images.window import Window
from fitcli.tasks.classify.classify_image import classify_image
from fitcli.tasks.classify.config import ClassifyDetails, sharpening_document
from fitcli.tasks.classify.task import TASK as CLASSIFY
from fitcli.tasks.load import load_config, load_run
from models.sharpening import PLAIN

FACTORS = (1, 2, 4, 8, 16)
"""Sides of the test pictures, by that of the training pictures."""

TRAINED = 8_000
"""Digits for training and validation canvases; the others are for test canvases."""

TEST_SEED = 7


class Kind(NamedTuple):
    """A data set.

    Attributes:
        side: Side of the training pictures, in pixels.
        train, validation: Numbers of pictures.
        options: Options of `fit train`.
        tests: Numbers of test pictures by the factor of their side.
    """

    side: int
    train: int
    validation: int
    options: str
    tests: tuple[int, ...]


MNIST = Path(__file__).parents[2] / "recipes" / "megapixel-mnist.toml"

KINDS = {
    "marks": Kind(320, 240, 48, "--preset debug --batch-size 3 --epochs 8", (48, 48, 48, 24, 6)),
    "digits": Kind(224, 600, 60, f"--recipe {shlex.quote(str(MNIST))} --epochs 15", (100, 100, 100, 50, 40)),
    "fields": Kind(380, 38, 10, "--preset debug", (40, 20, 20, 10, 4)),
}


def drawers(data: Path) -> dict[str, tuple[Draw, Draw]]:
    """Return what draws the training and the test pictures of each kind; no digit is in both."""
    padded, labels = read_digits(data)
    digits = padded[:, 2:-2, 2:-2]
    train, test = (digit_canvases(digits[part], labels[part]) for part in (slice(TRAINED), slice(TRAINED, None)))
    return {"marks": (landscapes, landscapes), "digits": (train, test), "fields": (fields, fields)}


def save(path: Path, pixels: NDArray[Any]) -> None:
    """Write pixels to an image file."""
    height, width, channels = pixels.shape
    color = channels == 3 and pixels.dtype == np.uint8
    info = ImageInfo(height=height, width=width, channels=channels, dtype=pixels.dtype, color=color)
    with create_image(path, info) as image:
        image.write(Window(0, 0, height, width), pixels)


def write_dataset(folder: Path, splits: dict[str, Iterator[Picture]]) -> Path:
    """Write a data set for `fit train`, and return its CSV."""
    (folder / "images").mkdir(parents=True)
    listing = folder / "images.csv"
    with listing.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split"])
        for split, pictures in splits.items():
            for number, picture in enumerate(pictures):
                name = f"images/{split}-{number:04}.tif"
                save(folder / name, picture.pixels)
                writer.writerow([name, picture.label, split])
    return listing


def accuracy(run: Path, pictures: Iterator[Picture], plain: bool) -> float:
    """Return the share of pictures that a run classifies correctly, without its sharpening if `plain`."""
    runtime = choose_runtime("cpu", "fp32")
    checkpoint = load_run(run, runtime, CLASSIFY)
    if plain:
        checkpoint.model.head.sharpening = PLAIN
    path, right = run.parent / "test.tif", []
    for picture in pictures:
        save(path, picture.pixels)
        with open_image(path) as image:
            found = classify_image(checkpoint, image, runtime).probabilities
        right.append(checkpoint.config.classes[int(found.argmax())] == picture.label)
        path.unlink()
    return float(np.mean(right))


def run_kind(name: str, folder: Path, draw: tuple[Draw, Draw], more: str, plain: bool) -> dict[str, Any]:
    """Train a model of a kind, if its folder has none, and score it at all sizes."""
    kind, run = KINDS[name], folder / "run"
    if not run.exists():
        listing = write_dataset(
            folder, {"train": draw[0](kind.side, kind.train, 1), "val": draw[0](kind.side, kind.validation, 2)}
        )
        run_python("-m", "fitcli", "train", str(listing), "--out", str(run), *shlex.split(f"{kind.options} {more}"))
    by_size = {}
    for factor, count in zip(FACTORS, kind.tests, strict=True):
        began = time.perf_counter()
        by_size[factor] = accuracy(run, draw[1](kind.side * factor, count, TEST_SEED), plain)
        print(f"{name} x{factor}: {by_size[factor]:.1%} of {count}, {time.perf_counter() - began:.0f} s", flush=True)
    details = load_config(run).details
    assert isinstance(details, ClassifyDetails)
    sharpening = {} if plain else sharpening_document(details.sharpening)
    return {**kind._asdict(), "options": Path(kind.options).name, "sharpening": sharpening, "accuracy": by_size}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the published files of MNIST")
    parser.add_argument("--work", type=Path, required=True, help="folder for the data sets and the runs")
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--more", default="", help="further options of `fit train`")
    parser.add_argument("--plain", action="store_true", help="score without the factors for larger images")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    options = parser.parse_args()
    draw = drawers(options.data)
    results = {
        name: run_kind(name, options.work / name, draw[name], options.more, options.plain) for name in options.kinds
    }
    save_results(options.out, ["torch", "numpy"], {"more": options.more, "plain": options.plain, "kinds": results})


if __name__ == "__main__":
    main()
