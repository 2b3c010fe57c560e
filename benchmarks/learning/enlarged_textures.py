"""Trains a run that enlarges four times on three textures, and compares it with cubic convolution on held-out parts.

    python -m benchmarks.learning.enlarged_textures --work FOLDER [--train OPTIONS] [--picture FILE.jpg]
        [--out FILE.json]

Needs scikit-image for its photographs of brick, grass and gravel, 512 x 512 grey pixels each. Of each, 100 crops of 192
pixels from the left three quarters train, unless the run in the work folder exists, and 4 validate; the right quarter,
four squares of 128 pixels, is the test. The figures are those of `fit evaluate --samples`.
Goal: the sliced Wasserstein distance of the finest level is at most a third of that of cubic convolution.

Each row of the picture shows a test square: its smaller version, cubic convolution, a sample, and the square itself.
"""

from __future__ import annotations

import argparse
import csv
import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.learning.digits import fit
from benchmarks.learning.real_pixels import TEXTURES, photograph
from benchmarks.support.machine import save_results
from benchmarks.support.training import read_training
from fitcli.images.window import Window
from fitcli.patches.resampling import enlarge, shrink

FACTOR = 4
TRAINED, TESTED, HELD_OUT = 192, 128, 384
"""Pixels per side of a crop that trains, and of one that tests; the first column that is held out."""

COUNTS = {"train": 100, "val": 4}
"""Crops of each texture."""

TRAIN = (
    "--preset debug --size 64 --prediction x --self-condition-rate 0 "
    "--learning-rate 0.003 --batch-size 16 --steps 4000 --seed 0"
)
SAMPLES, CROP = 16, 32
"""Windows of 64 pixels that are enlarged, and sides of the crops that are compared."""


def write_crops(folder: Path) -> Path:
    """Write the crops as a data set for `fit train`; return its CSV."""
    (folder / "crops").mkdir(parents=True)
    rng, rows = np.random.default_rng(0), list[tuple[str, str]]()

    def save(whole: Image.Image, left: int, top: int, side: int, name: str, split: str) -> None:
        whole.crop((left, top, left + side, top + side)).save(folder / "crops" / f"{name}.png")
        rows.append((f"crops/{name}.png", split))

    for texture in TEXTURES:
        whole = photograph(texture)
        for split, count in COUNTS.items():
            for number in range(count):
                left, top = (int(rng.integers(0, side - TRAINED + 1)) for side in (HELD_OUT, whole.height))
                save(whole, left, top, TRAINED, f"{texture}-{split}-{number:03}", split)
        for number in range(whole.height // TESTED):
            save(whole, HELD_OUT, TESTED * number, TESTED, f"{texture}-test-{number}", "test")
    listing = folder / "crops.csv"
    with listing.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "split"), *rows])
    return listing


def row(run: Path, folder: Path, texture: str) -> list[NDArray[np.uint8]]:
    """Return a test square of a texture: its smaller version, enlarged in both ways, and the square."""
    square = np.asarray(Image.open(folder / "crops" / f"{texture}-test-0.png"))
    means = shrink(square[..., None].astype(np.float32), FACTOR)
    small, large = folder / f"{texture}-small.png", folder / f"{texture}-large.png"
    Image.fromarray(np.rint(means[..., 0]).astype(np.uint8)).save(small)
    fit("generate", "--checkpoint", run, "--image", small, "--out", large, "--overwrite")
    size = square.shape[0], square.shape[1]
    rounded = np.asarray(Image.open(small))
    smooth = enlarge(lambda part: rounded[part.slices()][..., None], rounded.shape, size, Window(0, 0, *size))
    blocks = np.kron(rounded, np.ones((FACTOR, FACTOR), np.uint8))
    return [blocks, np.rint(smooth[..., 0]).clip(0, 255).astype(np.uint8), np.asarray(Image.open(large)), square]


def save_picture(path: Path, rows: list[list[NDArray[np.uint8]]]) -> None:
    """Write the rows, twice as large, with white gaps."""
    lines = [np.hstack([np.pad(part, 4, constant_values=255) for part in parts]) for parts in rows]
    picture = Image.fromarray(np.vstack(lines))
    picture.resize((2 * picture.width, 2 * picture.height), Image.Resampling.NEAREST).save(path, quality=80)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for the crops, the run and the images")
    parser.add_argument("--train", default=TRAIN, help="options of `fit train`")
    parser.add_argument("--picture", type=Path, help="JPEG file for the images")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    options = parser.parse_args()
    run, listing = options.work / "run", options.work / "crops.csv"
    if not (run / "config.json").exists():
        listing = write_crops(options.work)
        kind = ("--task", "diffusion", "--enlarge", FACTOR, "--unconditional")
        fit("train", listing, "--out", run, *kind, *shlex.split(options.train))
    compared = ("--split", "test", "--samples", SAMPLES, "--crop", CROP, "--json")
    scores: dict[str, Any] = json.loads(fit("evaluate", listing, "--checkpoint", run, *compared))
    save_picture(options.picture or options.work / "enlarged.jpg", [row(run, options.work, each) for each in TEXTURES])
    results = {
        "train": options.train,
        "training": read_training(run),
        "psnr": {name: value for name, value in scores.items() if name.startswith("psnr")},
        "quality": scores["quality"],
    }
    print(json.dumps(results, indent=1))
    save_results(options.out, ["torch", "numpy", "scikit-image"], results)


if __name__ == "__main__":
    main()
