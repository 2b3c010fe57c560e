"""Trains with and without augmentation on slides of one laboratory, and scores others of it and of other laboratories.

    python -m benchmarks.learning.augmentation --work FOLDER [--make-only] [--augment LIST ...] [--seeds N] [--steps N]

Makes synthetic slides of haematoxylin and eosin of 128 x 128 pixels. The class is the size of the nuclei. In the
training slides, those of one class tend to be stained more strongly, as where two batches of slides hold two diagnoses.
Slides of the same laboratory without that tendency, and slides of others with other stains and sharpness, are the
tests. Each arm is a run of `fit train` that differs in `--augment` alone.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from benchmarks.support.processes import run_python

SIDE = 128
TRAIN, TEST = 80, 100
STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])
ARMS = ("none", "default", "flips,light,stain", "pathology")


def slide(
    rng: np.random.Generator,
    large: bool,
    amounts: tuple[float, float],
    stains: NDArray[np.float64],
    side: int = SIDE,
) -> Any:
    """Return a slide with small or large nuclei, as a picture."""
    y, x = np.mgrid[:side, :side]
    rough = Image.fromarray(rng.random((9, 9)).astype(np.float32)).resize((side, side), Image.Resampling.BICUBIC)
    eosin = 0.25 + 0.35 * np.asarray(rough, np.float64)
    haematoxylin = np.full((side, side), 0.06)
    radius = 5.5 if large else 3.6
    # As much area in both classes, so that the mean colour says nothing.
    for _ in range(round(900 / radius**2 * (side / SIDE) ** 2)):
        row, column = rng.uniform(0, side, 2)
        size = radius * rng.uniform(0.85, 1.15)
        distance = np.hypot(y - row, x - column) / size
        haematoxylin += 0.7 / (1 + np.exp((6 * (distance - 1)).clip(-50, 50)))
    density = np.stack([haematoxylin * amounts[0], eosin * amounts[1]], axis=-1) @ stains
    light = 245 * np.exp(-density) + rng.normal(0, 3, density.shape)
    return Image.fromarray(light.clip(0, 255).astype(np.uint8))


def laboratory(number: int) -> tuple[tuple[float, float], NDArray[np.float64], float]:
    """Return amounts and colours of the stains, and the blur of a laboratory; 0 is that of training."""
    rng = np.random.default_rng([7, number])
    if number == 0:
        return (1.0, 1.0), STAINS, 0.0
    amounts = float(rng.uniform(0.7, 1.4)), float(rng.uniform(0.6, 1.4))
    return amounts, (STAINS + rng.normal(0, 0.04, STAINS.shape)).clip(0, None), float(rng.uniform(0, 0.8))


def make(folder: Path) -> None:
    """Write the data sets `train`, `same` and `others`, each with a folder per class, and a larger example."""
    folder.mkdir(parents=True, exist_ok=True)
    slide(np.random.default_rng(0), True, (1.0, 1.0), STAINS, 3 * SIDE).save(folder / "example.png")
    for name, count in (("train", TRAIN), ("same", TEST), ("others", TEST)):
        for number in range(count):
            rng = np.random.default_rng([count, len(name), number])
            large = number % 2 == 1
            amounts, stains, blur = laboratory(1 + number // 2 % 10 if name == "others" else 0)
            if name == "train":
                strength = rng.normal(1.12 if large else 0.92, 0.08)
                amounts = amounts[0] * strength, amounts[1] * strength
            picture = slide(rng, large, amounts, stains)
            picture = picture.filter(ImageFilter.GaussianBlur(blur)) if blur else picture
            path = folder / name / ("large" if large else "small") / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path)


def accuracy(run: Path, data: Path) -> float:
    """Return the accuracy of a run on a whole data set."""
    command = ("-m", "fitcli", "evaluate", str(data), "--checkpoint", str(run), "--split", "all", "--json")
    return float(json.loads(run_python(*command))["accuracy"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for data and runs")
    parser.add_argument("--augment", nargs="+", default=list(ARMS), help="the arms")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--preset", default="nano")
    parser.add_argument("--make-only", action="store_true", help="write the slides and stop")
    options = parser.parse_args()
    if not (options.work / "train").exists():
        make(options.work)
    if options.make_only:
        return
    for augment in options.augment:
        found = []
        for seed in range(options.seeds):
            run = options.work / f"run-{augment.replace(',', '+')}-{seed}"
            run_python(
                "-m", "fitcli", "train", str(options.work / "train"), "--out", str(run), "--preset", options.preset,
                "--steps", str(options.steps), "--seed", str(seed), "--augment", augment, "--device", "cpu",
            )  # fmt: skip
            found.append([accuracy(run, options.work / name) for name in ("same", "others")])
        mean = np.mean(found, axis=0)
        print(f"{augment:20} same {mean[0]:.2f}  others {mean[1]:.2f}  {np.round(found, 2).tolist()}", flush=True)


if __name__ == "__main__":
    main()
