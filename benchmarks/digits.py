"""An autoregressive model of handwritten digits against models that know less: bits per dimension, and samples.

    python benchmarks/digits.py --data FOLDER --work FOLDER [--train "--preset tiny --epochs 2"] [--out FILE.json]

FOLDER holds the test set of MNIST as published, `t10k-images-idx3-ubyte.gz` and its labels. Its 10,000 digits, padded
from 28 x 28 to 32 x 32 pixels, are 7,500 to train on, 500 to choose the best weights by, and 2,000 that are scored.

The baselines are fitted to all of the first 8,000 and scored on the same 2,000, their settings chosen in hindsight:
histogram: of the levels at each pixel. mixture: of Gaussians at each pixel, made discrete as in PixelCNN++ (Salimans et
al. 2017, arXiv:1701.05517, section 2.1), with a share of ignorance. neighbours: a histogram of the levels that follow
each pair of a pixel above and one on the left, each in eight steps, wherever they are.
Goal: the model needs fewer bits than the histogram and the mixture. It is told which digit it is, unless it is trained
with --unconditional: that is worth 0.003 bits per dimension at most, log2(10) / 1024.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import math
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine
from numpy.typing import NDArray

from fitcli.autoregression_images import Request, generate_images
from fitcli.checkpoints import load_decoder
from fitcli.images.base import ImageInfo
from fitcli.images.open import create_image
from fitcli.runtime import choose_runtime
from fitcli.window import Window

SIDE, TRAINED, FITTED = 32, 7_500, 8_000
"""Pixels of a padded digit; digits to train on; digits to fit a baseline to."""

Digits = NDArray[np.uint8]
"""[i 32 32]."""


def read_digits(folder: Path) -> tuple[Digits, NDArray[np.uint8]]:
    """The digits in IDX format, padded, and their labels [i]."""
    images = gzip.decompress((folder / "t10k-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((folder / "t10k-labels-idx1-ubyte.gz").read_bytes())
    pixels = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28, 28)
    return np.pad(pixels, ((0, 0), (2, 2), (2, 2))), np.frombuffer(labels, np.uint8, offset=8)


def save(path: Path, pixels: Digits) -> None:
    """A grey PNG of [height width]."""
    info = ImageInfo(height=pixels.shape[0], width=pixels.shape[1], channels=1, dtype=np.dtype(np.uint8))
    with create_image(path, info) as canvas:
        canvas.write(Window(0, 0, *pixels.shape), pixels[..., None])


def write_dataset(folder: Path, digits: Digits, labels: NDArray[np.uint8], limit: int) -> Path:
    """As `fit train` takes it; at most `limit` digits of each split."""
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
    return {"train": range(TRAINED), "val": range(TRAINED, FITTED), "test": range(FITTED, count)}


def fit(*arguments: object) -> str:
    """Run `fit`, its progress shown."""
    command = [sys.executable, "-m", "fitcli", *map(str, arguments)]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


# Baselines ------------------------------------------------------------------------------------------------------------

SMOOTHING = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Counts that are added to all levels."""


def histogram_bits(fitted: Digits, scored: Digits) -> float:
    places = np.arange(SIDE * SIDE)
    return _count_bits(fitted.reshape(len(fitted), -1), scored.reshape(len(scored), -1), places, places, len(places))


def neighbour_bits(fitted: Digits, scored: Digits) -> float:
    return _count_bits(fitted, scored, _contexts(fitted), _contexts(scored), 64)


def _contexts(digits: Digits) -> NDArray[np.int64]:
    """The steps, 0 ... 7, of the pixel above and of that on the left, as one number; black beyond the edges."""
    steps = np.pad(digits, ((0, 0), (1, 0), (1, 0))).astype(np.int64) >> 5
    return steps[:, :-1, 1:] * 8 + steps[:, 1:, :-1]


def _count_bits(
    fitted: Digits, scored: Digits, before: NDArray[np.int64], asked: NDArray[np.int64], contexts: int
) -> float:
    """Bits per dimension of levels counted in each context, with the smoothing that is best in hindsight."""
    index = np.broadcast_to(before, fitted.shape).ravel() * 256 + fitted.ravel()
    counts = np.bincount(index, minlength=contexts * 256).reshape(contexts, 256)
    wanted = np.broadcast_to(asked, scored.shape).ravel() * 256 + scored.ravel()
    found = []
    for smoothing in SMOOTHING:
        chances = (counts + smoothing) / (counts.sum(1, keepdims=True) + 256 * smoothing)
        found.append(float(-np.log2(chances.ravel()[wanted]).mean()))
    return min(found)


COMPONENTS, NARROWEST, IGNORANCE = (3, 8), (0.05, 0.3), (1e-4, 1e-3, 1e-2)
"""Of the mixture: Gaussians, their least standard deviation in levels, the share that all levels have alike."""


def mixture_bits(fitted: Digits, scored: Digits) -> float:
    known, asked = fitted.reshape(len(fitted), -1), scored.reshape(len(scored), -1)
    found = []
    for components in COMPONENTS:
        for narrowest in NARROWEST:
            bits = [_pixel_bits(known[:, p], asked[:, p], components, narrowest) for p in range(known.shape[1])]
            found.append(np.mean(bits, axis=0).min())
    return float(min(found))


def _pixel_bits(
    known: NDArray[np.uint8], asked: NDArray[np.uint8], components: int, narrowest: float, rounds: int = 40
) -> list[float]:
    """By expectation and maximisation; for each share of ignorance."""
    counts = np.bincount(known, minlength=256).astype(np.float64)
    levels = np.arange(256.0)
    means = np.quantile(known, (np.arange(components) + 0.5) / components) + np.linspace(-1, 1, components)
    deviations, weights = np.full(components, max(known.std(), narrowest)), np.full(components, 1 / components)
    for _ in range(rounds):
        joint = weights * _discrete(levels, means, deviations) + 1e-300  # [256 components]
        shares = joint / joint.sum(1, keepdims=True) * counts[:, None]
        mass = shares.sum(0) + 1e-9
        means = (shares * levels[:, None]).sum(0) / mass
        deviations = np.sqrt((shares * (levels[:, None] - means) ** 2).sum(0) / mass + narrowest**2)
        weights = mass / mass.sum()
    chances = (weights * _discrete(levels, means, deviations)).sum(1)[asked]
    return [float(-np.log2((1 - share) * chances + share / 256).mean()) for share in IGNORANCE]


def _discrete(
    levels: NDArray[np.float64], means: NDArray[np.float64], deviations: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Probability of each level [256 components]: what a Gaussian has around it; the ends have all beyond them too."""
    borders = (levels[:-1, None] + 0.5 - means) / (deviations * math.sqrt(2))
    below = 0.5 * (1 + np.vectorize(math.erf)(borders))
    ones = np.ones((1, len(means)))
    return np.diff(np.concatenate([0 * ones, below, ones]), axis=0)


# ----------------------------------------------------------------------------------------------------------------------


def draw_grid(run: Path, path: Path, side: int) -> None:
    """`side` x `side` samples; the classes in turn where the model has classes."""
    checkpoint = load_decoder(run, choose_runtime("auto", "fp32"))
    images = np.stack(list(generate_images(checkpoint, Request(count=side**2, batch=side**2))))[..., 0]
    rows = images.reshape(side, side, *images.shape[1:]).transpose(0, 2, 1, 3)
    save(path, np.ascontiguousarray(rows.reshape(side * images.shape[1], -1)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the published files")
    parser.add_argument("--work", type=Path, required=True, help="folder for the data set, the run and the samples")
    parser.add_argument("--train", default="--preset tiny --epochs 2", help="options of `fit train`; empty: baselines")
    parser.add_argument("--limit", type=int, default=10**9, help="digits of each split, to try it out")
    parser.add_argument("--grid", type=int, default=8, help="samples per side of the grid")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    options = parser.parse_args()
    digits, labels = read_digits(options.data)
    fitted, scored = digits[: min(FITTED, options.limit)], digits[FITTED:][: options.limit]
    results: dict[str, Any] = {"machine": machine(["torch", "numpy"]), "digits": len(scored), "bits_per_dimension": {}}
    bits = results["bits_per_dimension"]
    bits["histogram"] = histogram_bits(fitted, scored)
    bits["neighbours"] = neighbour_bits(fitted, scored)
    bits["mixture"] = mixture_bits(fitted, scored)
    if options.train:
        listing, run = write_dataset(options.work, digits, labels, options.limit), options.work / "run"
        began = time.perf_counter()
        fit("train", listing, "--out", run, "--task", "autoregressive", *shlex.split(options.train))
        results |= {"train": options.train, "train_seconds": time.perf_counter() - began, "cores": os.cpu_count()}
        found = json.loads(fit("evaluate", listing, "--checkpoint", run, "--split", "test", "--json"))
        bits["model"] = found["bits_per_dimension"]
        draw_grid(run, options.work / "samples.png", options.grid)
    print(", ".join(f"{name} {value:.4f}" for name, value in bits.items()), "bits per dimension")
    if options.out:
        options.out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
