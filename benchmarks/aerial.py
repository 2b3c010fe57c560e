"""A large image from a diffusion model that has seen one aerial photograph: to be looked at, nothing is scored.

    python benchmarks/aerial.py --photograph FILE --work FOLDER [--train OPTIONS] [--generate OPTIONS]

Cuts square crops out of the photograph, at full size and shrunk up to tenfold, so that what is made coarse to fine is
like something the model has seen at every size; trains on windows of them, unless WORK/run is there already; and draws
WORK/image.tif. `generate.py --seam-runs WORK/run` measures the seams of such images.
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
from fitcli.window import Window

CROPS, VALIDATED, SIDE = 3032, 32, 96
"""Number of crops, of those to choose the best weights by, and pixels per side."""

FULL_SIZE, MOST_SHRUNK = 0.4, 10.0
"""Share of the crops that are not shrunk; and how much the others are at most, evenly on a logarithmic scale."""

TRAIN = (
    "--unconditional --preset nano --size 64 --prediction x --self-condition-rate 0 --augment --batch-size 32 "
    "--learning-rate 0.003 --steps 2400"
)
GENERATE = "--res 4096 --steps 12 --sampler dpm --shift-grid --seed 3 --memory 1GiB"


def write_crops(photograph: Path, folder: Path) -> Path:
    """As `fit train` takes them."""
    with open_image(photograph) as image:
        whole = Image.fromarray(image.read(Window(0, 0, *image.info.size)))
    (folder / "crops").mkdir(parents=True)
    rng, rows = np.random.default_rng(0), []
    for number in range(CROPS):
        shrunk = 1.0 if rng.random() < FULL_SIZE else MOST_SHRUNK ** rng.random()
        side = int(SIDE * shrunk)
        top, left = (int(rng.integers(0, pixels - side + 1)) for pixels in (whole.height, whole.width))
        crop = whole.resize((SIDE, SIDE), Image.Resampling.BOX, box=(left, top, left + side, top + side))
        crop.save(folder / "crops" / f"{number:04}.png")
        rows.append((f"crops/{number:04}.png", "train" if number < CROPS - VALIDATED else "val"))
    listing = folder / "crops.csv"
    with listing.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "split"), *rows])
    return listing


def fit(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "fitcli", *map(str, arguments)], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photograph", type=Path, required=True, help="of at least 960 pixels per side, 8 bits")
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
