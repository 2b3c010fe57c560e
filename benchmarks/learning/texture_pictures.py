"""Trains a diffusion model of three textures, compares its images with held-out ones, and draws them side by side.

    python -m benchmarks.learning.texture_pictures --work FOLDER [--train OPTIONS] [--picture FILE.jpg] [--compare]
        [--out FILE.json]

Needs scikit-image for its photographs of brick, grass and gravel, 512 x 512 grey pixels each. Of each, 600 crops of 128
pixels from the left three quarters train, unless the run in the work folder exists; the right quarter, four squares of
128 pixels, is held out. The figures are steps across the borders of groups and patches of the drawn images over those
inside, and with `--compare` those of `fit evaluate --samples`.

Each row of the picture shows a texture: 256 x 256 pixels of the photograph, then generated images of that size.
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
from benchmarks.learning.real_pixels import TEXTURES, package_file
from benchmarks.speed.generate import seams
from benchmarks.support.machine import save_results
from benchmarks.support.training import read_training
from fitcli.tasks.diffusion.config import diffusion_of
from fitcli.tasks.load import load_config

SIDE, HELD_OUT, CROPS, VALIDATED = 128, 384, 600, 16
"""Pixels per side of a crop; the first held-out column; crops of each texture that train, and that validate."""

TRAIN = (
    "--preset nano --attention-start reference --prediction x --self-condition-rate 0 --learning-rate 0.002 "
    "--batch-size 8 --steps 6000 --seed 0"
)
GENERATE = "--sampler dpm --steps 30 --one-pass"

SHOWN, COUNT = 256, 3
"""Pixels per side of a drawn image, and how many are drawn of each texture."""

CROP = 64
"""Pixels per side of the crops that are compared."""


def photograph(texture: str) -> Image.Image:
    return Image.open(package_file("skimage", "data", f"{texture}.png")).convert("L")


def write_crops(folder: Path) -> Path:
    """Write the crops as a data set for `fit train`; return its CSV."""
    (folder / "crops").mkdir(parents=True)
    rng, rows = np.random.default_rng(0), []
    for texture in TEXTURES:
        whole = photograph(texture)
        for number in range(CROPS + VALIDATED):
            top, left = int(rng.integers(0, whole.height - SIDE + 1)), int(rng.integers(0, HELD_OUT - SIDE + 1))
            rows.append((_save(folder, whole, left, top, f"{texture}-{number:03}"), texture, _split(number)))
        for number in range(whole.height // SIDE):
            rows.append((_save(folder, whole, HELD_OUT, SIDE * number, f"{texture}-test-{number}"), texture, "test"))
    listing = folder / "crops.csv"
    with listing.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "label", "split"), *rows])
    return listing


def _save(folder: Path, whole: Image.Image, left: int, top: int, name: str) -> str:
    path = f"crops/{name}.png"
    whole.crop((left, top, left + SIDE, top + SIDE)).save(folder / path)
    return path


def _split(number: int) -> str:
    return "train" if number < CROPS else "val"


def draw(run: Path, folder: Path, options: str) -> dict[str, list[NDArray[np.uint8]]]:
    """Return `COUNT` images of each texture that the run generates."""
    drawn = {}
    for texture in TEXTURES:
        arguments = ("--label", texture, "--res", SHOWN, "--count", COUNT, "--seed", 1, "--overwrite")
        fit("generate", "--checkpoint", run, "--out", folder / f"{texture}.png", *arguments, *shlex.split(options))
        drawn[texture] = [np.asarray(Image.open(folder / f"{texture}-{number}.png")) for number in range(COUNT)]
    return drawn


def save_picture(path: Path, drawn: dict[str, list[NDArray[np.uint8]]]) -> None:
    """Write a row for each texture: a part of the photograph, then two drawn images."""
    rows = []
    for texture, images in drawn.items():
        real = np.asarray(photograph(texture))[:SHOWN, :SHOWN]
        gap = np.full((SHOWN, 8), 255, np.uint8)
        rows += [np.hstack([real, *(part for image in images[:2] for part in (gap, image))])]
    gap = np.full((8, rows[0].shape[1]), 255, np.uint8)
    picture = np.vstack([part for row in rows for part in (row, gap)][:-1])
    Image.fromarray(picture).save(path, quality=75)


def mean_seams(images: list[NDArray[np.uint8]], patch: int, side: int) -> dict[str, float]:
    """Return the mean seams of images; see `benchmarks.speed.generate.seams`."""
    each = [seams(image.astype(np.float32)[..., None], patch, side) for image in images]
    return {name: float(np.mean([one[name] for one in each])) for name in each[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for the crops, the run and the images")
    parser.add_argument("--train", default=TRAIN, help="options of `fit train`")
    parser.add_argument("--generate", default=GENERATE, help="options of `fit generate`")
    parser.add_argument("--picture", type=Path, help="JPEG file for the images")
    parser.add_argument("--compare", action="store_true", help="compare with held-out images, too: minutes")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    options = parser.parse_args()
    run, listing = options.work / "run", options.work / "crops.csv"
    if not (run / "config.json").exists():
        listing = write_crops(options.work)
        fit("train", listing, "--out", run, "--task", "diffusion", *shlex.split(options.train))
    drawn = draw(run, options.work, options.generate)
    save_picture(options.picture or options.work / "textures.jpg", drawn)
    config = load_config(run)
    patch, side = diffusion_of(config).patch, diffusion_of(config).patch * config.model.group
    results: dict[str, Any] = {
        "train": options.train,
        "generate": options.generate,
        "training": read_training(run),
        "seams": {texture: mean_seams(images, patch, side) for texture, images in drawn.items()},
        "seams of the photographs": {
            texture: mean_seams([np.asarray(photograph(texture))], patch, side) for texture in TEXTURES
        },
    }
    if options.compare:
        compared = ("--split", "test", "--samples", 6, "--sample-size", SHOWN, "--crop", CROP, "--json")
        scores = fit("evaluate", listing, "--checkpoint", run, *compared, *shlex.split(options.generate))
        results["quality"] = json.loads(scores)["quality"]
    print(json.dumps(results, indent=1))
    save_results(options.out, ["torch", "numpy", "scikit-image"], results)


if __name__ == "__main__":
    main()
