"""Compares an autoregressive model of handwritten digits with simple models in bits per dimension, and draws samples.

    python -m benchmarks.learning.digits --data FOLDER --work FOLDER [--train "--preset tiny --epochs 2"]
        [--out FILE.json]

The data folder holds the test set of MNIST as published: `t10k-images-idx3-ubyte.gz` and its labels. Its 10,000 digits
are padded from 28 x 28 to 32 x 32 pixels: 7,500 to train on, 500 to choose the best weights by, 2,000 to score.

The simple models (`baselines.py`) are fitted to the first 8,000 digits and scored on the same 2,000, with the best
settings in hindsight: a histogram of the levels at each pixel; a mixture of Gaussians at each pixel; a histogram of the
levels for each pair of the pixel above and the pixel on the left.
Goal: the model needs fewer bits than the histogram and the mixture. It gets the label of the digit, unless it is
trained with --unconditional. The label is worth at most log2(10) / 1024 = 0.003 bits per dimension.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import shlex
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.learning.baselines import histogram_bits, mixture_bits, neighbour_bits
from benchmarks.support.machine import save_results
from benchmarks.support.processes import run_python
from fitcli.device.runtime import choose_runtime
from fitcli.images.base import ImageInfo
from fitcli.images.open import create_image
from fitcli.images.window import Window
from fitcli.tasks.autoregressive.generate_images import Request, generate_images
from fitcli.tasks.autoregressive.task import TASK as AUTOREGRESSIVE
from fitcli.tasks.load import load_run

SIDE, TRAINED, FITTED = 32, 7_500, 8_000
"""Pixels of a padded digit; digits to train on; digits to fit a baseline to."""

Digits = NDArray[np.uint8]
"""Padded digits [i 32 32]."""


def read_digits(folder: Path) -> tuple[Digits, NDArray[np.uint8]]:
    """Read the digits in IDX format; return them padded, and their labels [i]."""
    images = gzip.decompress((folder / "t10k-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((folder / "t10k-labels-idx1-ubyte.gz").read_bytes())
    pixels = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28, 28)
    return np.pad(pixels, ((0, 0), (2, 2), (2, 2))), np.frombuffer(labels, np.uint8, offset=8)


def save(path: Path, pixels: Digits) -> None:
    """Write grey pixels [height width] to a PNG file."""
    info = ImageInfo(height=pixels.shape[0], width=pixels.shape[1], channels=1, dtype=np.dtype(np.uint8))
    with create_image(path, info) as canvas:
        canvas.write(Window(0, 0, *pixels.shape), pixels[..., None])


def write_dataset(folder: Path, digits: Digits, labels: NDArray[np.uint8], limit: int) -> Path:
    """Write a data set for `fit train`, with at most `limit` digits of each split; return its CSV."""
    (folder / "digits").mkdir(parents=True, exist_ok=True)
    listing = folder / "digits.csv"
    with listing.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split"])
        for split, numbers in splits(len(digits)).items():
            for number in list(numbers)[:limit]:
                name = f"digits/{number:05}.png"
                save(folder / name, digits[number])
                writer.writerow([name, labels[number], split])
    return listing


def splits(count: int) -> dict[str, range]:
    """Return the numbers of the digits of each split."""
    return {"train": range(TRAINED), "val": range(TRAINED, FITTED), "test": range(FITTED, count)}


def fit(*arguments: object) -> str:
    """Run `fit`, its progress shown, and return what it prints on stdout."""
    return run_python("-m", "fitcli", *map(str, arguments))


def draw_grid(run: Path, path: Path, side: int) -> None:
    """Draw `side` x `side` samples, of all classes in turn if the model has classes."""
    checkpoint = load_run(run, choose_runtime("auto", "fp32"), AUTOREGRESSIVE)
    images = np.stack(list(generate_images(checkpoint, Request(count=side**2, batch=side**2))))[..., 0]
    rows = images.reshape(side, side, *images.shape[1:]).transpose(0, 2, 1, 3)
    save(path, np.ascontiguousarray(rows.reshape(side * images.shape[1], -1)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the published files")
    parser.add_argument("--work", type=Path, required=True, help="folder for the data set, the run and the samples")
    parser.add_argument(
        "--train", default="--preset tiny --epochs 2", help="options of `fit train`; empty: baselines only"
    )
    parser.add_argument(
        "--limit",
        type=int,
        default=10**9,
        help="most digits of each split, for a trial; 50 have all ten labels",
    )
    parser.add_argument("--grid", type=int, default=8, help="samples per side of the grid")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    options = parser.parse_args()
    digits, labels = read_digits(options.data)
    fitted, scored = digits[: min(FITTED, options.limit)], digits[FITTED:][: options.limit]
    results: dict[str, Any] = {"digits": len(scored), "bits_per_dimension": {}}
    bits = results["bits_per_dimension"]
    bits["histogram"] = histogram_bits(fitted, scored)
    bits["neighbours"] = neighbour_bits(fitted, scored)
    bits["mixture"] = mixture_bits(fitted, scored)
    if options.train:
        listing, run = write_dataset(options.work, digits, labels, options.limit), options.work / "run"
        began = time.perf_counter()
        fit("train", listing, "--out", run, "--task", "autoregressive", *shlex.split(options.train))
        results |= {"train": options.train, "train_seconds": time.perf_counter() - began, "cores": os.cpu_count()}
        scores = json.loads(fit("evaluate", listing, "--checkpoint", run, "--split", "test", "--json"))
        bits["model"] = scores["bits_per_dimension"]
        draw_grid(run, options.work / "samples.png", options.grid)
    print(", ".join(f"{name} {value:.4f}" for name, value in bits.items()), "bits per dimension")
    save_results(options.out, ["torch", "numpy"], results)


if __name__ == "__main__":
    main()
