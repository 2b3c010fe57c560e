"""Draws textures with a run that generates them small and one that enlarges, and compares them with photographs.

    python -m benchmarks.learning.texture_pictures --work FOLDER --enlarger RUN [--train OPTIONS] [--picture FILE.jpg]
        [--out FILE.json]

Needs scikit-image for its photographs of brick, grass and gravel, 512 x 512 grey pixels each, and the run of
`enlarged_textures.py`, which enlarges four times. Of each photograph, 600 windows of 256 pixels from the left three
quarters, shrunk to 64 pixels, train the other run, unless it exists in the work folder. Both together draw images of
256 pixels by label: `fit generate --checkpoint BASE --enlarge-with ENLARGER`.

sliced: the sliced Wasserstein distance of 24 drawn crops of 64 pixels, 8 of each texture, to two sets of 24 crops of
the right quarters of the photographs, over the distance between these sets, at 64, 32 and 16 pixels. Goal: at most 2.
seams: steps across the borders of groups and patches of the drawn images over those inside.
Each row of the picture shows a texture: 256 x 256 pixels of the photograph, then drawn images of that size.
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
from benchmarks.speed.generate import seams
from benchmarks.support.machine import save_results
from benchmarks.support.training import read_training
from fitcli.evaluation.quality.crops import CropSet
from fitcli.evaluation.quality.figures import compare_sets
from fitcli.patches.resampling import shrink
from fitcli.patches.value_range import PixelRange
from fitcli.tasks.diffusion.config import diffusion_of
from fitcli.tasks.load import load_config

FACTOR, SIDE = 4, 64
"""Pixels of a window per pixel of its smaller version, and sides of these versions, which train."""

HELD_OUT, CROPS, VALIDATED = 384, 600, 16
"""The first held-out column; windows of each texture that train, and that validate."""

TRAIN = (
    "--preset debug --prediction x --loss-weighting min-snr --self-condition-rate 0 --learning-rate 0.003 "
    "--batch-size 16 --steps 3000 --seed 0"
)
GENERATE = "--sampler dpm --steps 30 --one-pass"

SHOWN, COUNT = 256, 2
"""Pixels per side of a drawn image, and how many are drawn of each texture."""

CROP, COMPARED = 64, 8
"""Pixels per side of the crops that are compared, and how many of each texture a set has."""

Textures = dict[str, list[NDArray[np.uint8]]]
"""Images of each texture."""


def write_windows(folder: Path) -> Path:
    """Write smaller versions of windows as a data set for `fit train`; return its CSV."""
    (folder / "windows").mkdir(parents=True)
    rng, rows, side = np.random.default_rng(0), list[tuple[str, str, str]](), FACTOR * SIDE
    for texture in TEXTURES:
        whole = np.asarray(photograph(texture), np.float32)
        for number in range(CROPS + VALIDATED):
            top, left = (int(rng.integers(0, most - side + 1)) for most in (len(whole), HELD_OUT))
            means = shrink(whole[top : top + side, left : left + side, None], FACTOR)[..., 0]
            path = f"windows/{texture}-{number:03}.png"
            Image.fromarray(np.rint(means).astype(np.uint8)).save(folder / path)
            rows.append((path, texture, "train" if number < CROPS else "val"))
    listing = folder / "windows.csv"
    with listing.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "label", "split"), *rows])
    return listing


def draw(base: Path, enlarger: Path, folder: Path, options: str) -> Textures:
    """Return `COUNT` images of each texture that the runs generate."""
    drawn = {}
    for texture in TEXTURES:
        arguments = ("--label", texture, "--res", SHOWN, "--count", COUNT, "--seed", 1, "--overwrite")
        runs = ("--checkpoint", base, "--enlarge-with", enlarger, "--out", folder / f"{texture}.png")
        fit("generate", *runs, *arguments, *shlex.split(options))
        drawn[texture] = [np.asarray(Image.open(folder / f"{texture}-{number}.png")) for number in range(COUNT)]
    return drawn


def crops(images: Textures, each: int) -> Textures:
    """Return `each` crops of each texture, evenly spread over those of a grid."""
    found = {}
    for texture, wholes in images.items():
        cut = [
            whole[top : top + CROP, left : left + CROP]
            for whole in wholes
            for top in range(0, whole.shape[0] - CROP + 1, CROP)
            for left in range(0, whole.shape[1] - CROP + 1, CROP)
        ]
        found[texture] = [cut[number * len(cut) // each] for number in range(each)]
    return found


def sliced_ratios(drawn: Textures) -> dict[str, float]:
    """Return the ratio of distances of each level, finest first."""
    held_out = {texture: [np.asarray(photograph(texture))[:, HELD_OUT:]] for texture in TEXTURES}
    real = crops(held_out, 2 * COMPARED)
    sets = [
        _crop_set("generated", crops(drawn, COMPARED)),
        *(_crop_set(f"real {part}", {name: own[part::2] for name, own in real.items()}) for part in range(2)),
    ]
    _, levels, _ = compare_sets(sets[0], (sets[1], sets[2]), seed=0)
    return {f"{CROP >> number} pixels": each.generated / each.real for number, each in enumerate(levels)}


def _crop_set(name: str, images: Textures) -> CropSet:
    pixels = [crop for own in images.values() for crop in own]
    found = CropSet(name, (CROP, CROP), PixelRange(0, 255, np.dtype(np.uint8)), len(pixels))
    for crop in pixels:
        found.add(crop[..., None])
    return found


def save_picture(path: Path, drawn: Textures) -> None:
    """Write a row for each texture: a part of the photograph, then two drawn images."""
    rows = []
    for texture, images in drawn.items():
        real = np.asarray(photograph(texture))[:SHOWN, :SHOWN]
        gap = np.full((SHOWN, 8), 255, np.uint8)
        rows += [np.hstack([real, *(part for image in images for part in (gap, image))])]
    gap = np.full((8, rows[0].shape[1]), 255, np.uint8)
    picture = np.vstack([part for row in rows for part in (row, gap)][:-1])
    Image.fromarray(picture).save(path, quality=75)


def mean_seams(images: list[NDArray[np.uint8]], patch: int, side: int) -> dict[str, float]:
    """Return the mean seams of images; see `benchmarks.speed.generate.seams`."""
    each = [seams(image.astype(np.float32)[..., None], patch, side) for image in images]
    return {name: float(np.mean([one[name] for one in each])) for name in each[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for the windows, the run and the images")
    parser.add_argument("--enlarger", type=Path, required=True, help="run that enlarges four times")
    parser.add_argument("--train", default=TRAIN, help="options of `fit train`")
    parser.add_argument("--generate", default=GENERATE, help="options of `fit generate`")
    parser.add_argument("--picture", type=Path, help="JPEG file for the images")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    options = parser.parse_args()
    base = options.work / "run"
    if not (base / "config.json").exists():
        listing = write_windows(options.work)
        fit("train", listing, "--out", base, "--task", "diffusion", *shlex.split(options.train))
    drawn = draw(base, options.enlarger, options.work, options.generate)
    save_picture(options.picture or options.work / "textures.jpg", drawn)
    config = load_config(options.enlarger)
    patch, side = diffusion_of(config).patch, diffusion_of(config).patch * config.model.group
    results: dict[str, Any] = {
        "train": options.train,
        "generate": options.generate,
        "training": read_training(base),
        "training of the enlarger": read_training(options.enlarger),
        "sliced": sliced_ratios(drawn),
        "seams": {texture: mean_seams(images, patch, side) for texture, images in drawn.items()},
        "seams of the photographs": {
            texture: mean_seams([np.asarray(photograph(texture))], patch, side) for texture in TEXTURES
        },
    }
    print(json.dumps(results, indent=1))
    save_results(options.out, ["torch", "numpy", "scikit-image"], results)


if __name__ == "__main__":
    main()
