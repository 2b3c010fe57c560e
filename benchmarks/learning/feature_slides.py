"""Trains on synthetic slides as features of patches, a few of which decide, with the defaults of `fit train`.

    python -m benchmarks.learning.feature_slides --work FOLDER [--slides N] [--train OPTIONS]

Writes files of features as TRIDENT does: half of the slides are held out, and half of each half have 3 to 7 places
whose features are shifted. Prints how many held-out slides are classified right, and how often the strongest place of
the heat map of a positive slide is one of those (pointing).
"""

from __future__ import annotations

import argparse
import csv
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitcli.device.runtime import choose_runtime
from fitcli.images.open import open_image
from fitcli.images.window import Window
from fitcli.tasks.classify.classify_image import classify_image
from fitcli.tasks.classify.heatmap import write_heatmap
from fitcli.tasks.classify.task import TASK as CLASSIFY
from fitcli.tasks.load import load_run

ROWS, COLUMNS, VALUES, SIDE = 26, 22, 64, 512
"""Places of a slide with its surroundings, values of a place, and level-0 pixels per side of a place."""

PLANTED, SHIFT = (3, 8), 12.0
"""Number of shifted places (from, below), and length of the shift; features without it are about as long."""

TOP, LEFT = 7, 4
"""Places above and on the left of the grid of a slide."""

Marks = dict[str, NDArray[np.int64]]
"""Places (row, column) of the shifted features on the whole slide, by file."""


def write_slides(folder: Path, count: int, seed: int = 1) -> Marks:
    """Write slides and `slides.csv`; the second half is for validation. Return where their marks are."""
    import h5py

    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    direction, common = rng.normal(size=VALUES), rng.normal(size=(6, VALUES))
    direction *= SHIFT / np.linalg.norm(direction)
    marks, table = {}, [("path", "label", "split")]
    for number in range(count):
        name, positive = f"slide-{number:03d}.h5", number % 2 == 1
        at = np.argwhere(tissue(rng))
        features = rng.normal(size=(len(at), VALUES)) + 0.5 * rng.normal(size=(len(at), 6)) @ common
        chosen = rng.choice(len(at), int(rng.integers(*PLANTED)) if positive else 0, replace=False)
        features[chosen] += direction
        marks[name] = at[chosen] + (TOP, LEFT)
        with h5py.File(folder / name, "w") as file:
            file.create_dataset("features", data=features.astype(np.float32), chunks=(1, VALUES))
            coordinates = file.create_dataset("coords", data=(at[:, ::-1] + (LEFT, TOP)) * SIDE)
            coordinates.attrs.update(patch_size=256, patch_size_level0=SIDE, level0_magnification=40, overlap=0)
        table.append((name, "positive" if positive else "negative", "val" if 2 * number >= count else "train"))
    with (folder / "slides.csv").open("w", newline="") as file:
        csv.writer(file).writerows(table)
    return marks


def tissue(rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return which places show tissue: an ellipse with three bulges."""
    row, column = np.mgrid[0:ROWS, 0:COLUMNS]
    down, right = row / ROWS - 0.5, column / COLUMNS - 0.5
    reach = 0.45**2 * (1 + 0.3 * np.sin(3 * np.arctan2(down, right) + rng.uniform(0, 6)))
    return np.asarray(down**2 + right**2 < reach)


def scores(folder: Path, run: Path, marks: Marks) -> dict[str, Any]:
    """Return the share of held-out slides that are right, and the pointing score."""
    names = sorted(marks)[len(marks) // 2 :]
    runtime = choose_runtime("cpu", "fp32", inference=True)
    model = load_run(run, runtime, CLASSIFY)
    right, hits = 0, []
    for name in names:
        positive, layer = bool(len(marks[name])), run.with_name("heat.tif")
        with open_image(folder / name) as image:
            found = classify_image(model, image, runtime, keep_evidence=True)
            write_heatmap(layer, image, found)
        right += (model.config.classes[int(found.probabilities.argmax())] == "positive") == positive
        if positive:
            hits.append(points_at(layer, marks[name]))
    return {"slides": len(names), "right": right / len(names), "positive": len(hits), "pointing": sum(hits) / len(hits)}


def points_at(layer: Path, marks: NDArray[np.int64]) -> bool:
    """Return whether the strongest place of a heat map is a mark."""
    with open_image(layer) as image:
        heat = image.read(Window(0, 0, *image.info.size))[..., 0]
    strongest = np.unravel_index(int(heat.argmax()), heat.shape)
    return bool((marks == strongest).all(axis=1).any())


def train(data: Path, run: Path, *options: str) -> None:
    """Train with `fit train` in another process."""
    command = [sys.executable, "-m", "fitcli", "train", str(data / "slides.csv"), "--out", str(run), *options]
    subprocess.run(command, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for data and run")
    parser.add_argument("--slides", type=int, default=80)
    parser.add_argument("--train", default="", help="options of fit train")
    options = parser.parse_args()
    data, run = options.work / "data", options.work / "run"
    marks = write_slides(data, options.slides)
    if not run.exists():
        train(data, run, *shlex.split(options.train))
    print(json.dumps(scores(data, run, marks)))


if __name__ == "__main__":
    main()
