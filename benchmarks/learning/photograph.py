"""Draws a large image from a diffusion model trained on crops of one photograph; nothing is scored.

    python -m benchmarks.learning.photograph --photograph FILE --work FOLDER [--train OPTIONS] [--generate OPTIONS]

Cuts square crops of several sizes out of the photograph, many at full size and others shrunk. Trains on them, unless
the run in the work folder exists, and draws `image.tif` there. The crops have several sizes so that the number of
latents that attend to each other varies in training. `python -m benchmarks.speed.generate --seam-runs RUN` measures the
seams of such images.

It suits photographs that look alike everywhere and have no large shapes, such as a field of stars: docs/generation.md
shows the Hubble Ultra Deep Field (NASA, ESA; public domain), of which scikit-image has 1000 x 872 pixels.
"""

from __future__ import annotations

import argparse
import csv
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from fitcli.images.open import open_image
from fitcli.images.window import Window

CROPS, VALIDATED = 6048, 48
"""Number of crops, and how many of them choose the best weights."""

SIDES = {64: 0.55, 128: 0.33, 256: 0.12}
"""Pixels per side of the crops, and the share of the crops of that size."""

FULL_SIZE, MOST_SHRUNK = 0.6, 3.0
"""Share of the crops that are not shrunk, and the greatest factor of the others, uniform on a logarithmic scale."""

TRAIN = (
    "--unconditional --preset debug --plan (1)1(1) --output-head linear --patch 4 --attention-start reference "
    "--prediction x --self-condition-rate 0 --augment --batch-size 8 --learning-rate 0.003 --steps 9000 --seed 0"
)
GENERATE = "--res 4096 --one-pass --steps 30 --sampler dpm --shift-grid --seed 1 --memory 1GiB"


def write_crops(photograph: Path, folder: Path) -> Path:
    """Write the crops as a data set for `fit train`; return its CSV."""
    with open_image(photograph) as image:
        whole = Image.fromarray(image.read(Window(0, 0, *image.info.size)))
    smallest = int(max(SIDES) * MOST_SHRUNK)
    if min(whole.size) < smallest:
        raise SystemExit(
            f"{photograph}: {whole.width} x {whole.height} pixels; use one of at least {smallest} pixels per side"
        )
    (folder / "crops").mkdir(parents=True)
    rng, rows = np.random.default_rng(0), []
    for number in range(CROPS):
        side = int(rng.choice(list(SIDES), p=list(SIDES.values())))
        shrunk = 1.0 if rng.random() < FULL_SIZE else MOST_SHRUNK ** rng.random()
        taken = int(side * shrunk)
        top, left = (int(rng.integers(0, pixels - taken + 1)) for pixels in (whole.height, whole.width))
        crop = whole.resize((side, side), Image.Resampling.BOX, box=(left, top, left + taken, top + taken))
        crop.save(folder / "crops" / f"{number:04}.png")
        rows.append((f"crops/{number:04}.png", "train" if number < CROPS - VALIDATED else "val"))
    listing = folder / "crops.csv"
    with listing.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "split"), *rows])
    return listing


def fit(*arguments: object) -> None:
    """Run `fit`, its output shown."""
    subprocess.run([sys.executable, "-m", "fitcli", *map(str, arguments)], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--photograph", type=Path, required=True, help="color image of 8 bits, at least 768 pixels per side"
    )
    parser.add_argument("--work", type=Path, required=True, help="folder for the crops, the run and the image")
    parser.add_argument("--train", default=TRAIN, help="options of `fit train`")
    parser.add_argument("--generate", default=GENERATE, help="options of `fit generate`")
    options = parser.parse_args()
    run = options.work / "run"
    if not (run / "config.json").exists():
        listing = write_crops(options.photograph, options.work)
        fit("train", listing, "--out", run, "--task", "diffusion", *shlex.split(options.train))
    fit("generate", "--checkpoint", run, "--out", options.work / "image.tif", *shlex.split(options.generate))


if __name__ == "__main__":
    main()
