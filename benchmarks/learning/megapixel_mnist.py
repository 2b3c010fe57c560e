"""Trains and scores a classifier on Megapixel MNIST: four questions about five digits among noise on a large canvas.

    python -m benchmarks.learning.megapixel_mnist --data FOLDER --work FOLDER [--minutes 9] [--out FILE.json]
    python -m benchmarks.learning.megapixel_mnist --data FOLDER --work FOLDER --side 1500 --noise 50 --device cuda
        --minutes 9

The data folder holds the test set of MNIST as published. Its first 8,000 digits make the training and validation
canvases and its last 2,000 the test canvases, so that no digit is in both. `megapixel_canvases.py` makes the canvases.
This module writes them as TIFF files, with a CSV of four label columns: the digit that occurs three times (majority),
the largest digit (max), the highest on the canvas (top), and all that occur (multi).

The first command has the default size, 448 x 448 pixels with 12 strokes of noise, for two cores. The second has the
size of the published figures. `fit train` trains with the options of a recipe (recipes/). With --minutes it stops after
that time, and the same command resumes it. After the last step the test canvases are scored. An answer to `multi` is
right if it is right about all ten labels.

Small canvases are easier to learn from, and a model can start from their weights on large ones. It never sees a digit
of the test canvases:

    python -m benchmarks.learning.megapixel_mnist --data FOLDER --work SMALL --side 168 --noise 2
    python -m benchmarks.learning.megapixel_mnist --data FOLDER --work FOLDER --more "--start-from SMALL/run"

Heat maps of three test canvases are drawn for `majority`. The pointing score is the share, among the five patches with
most evidence, of those whose centre lies in the 28 x 28 pixels of a digit. Beside it stands the same share among all
patches that are not empty.
Goal at the default size: 90 % for majority, and far more than chance for the others.
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

from benchmarks.learning.digits import read_digits
from benchmarks.learning.megapixel_canvases import DIGITS, SIDE, Canvas, canvases
from benchmarks.support.machine import save_results
from fitcli.device.runtime import choose_runtime
from fitcli.images.base import ImageInfo, ImageReader
from fitcli.images.open import create_image, open_image
from fitcli.images.window import Window
from fitcli.patches.grid import PatchGrid
from fitcli.runs.targets import SEPARATOR
from fitcli.tasks.classify.classify_image import Classification, classify_image
from fitcli.tasks.classify.heatmap import write_heatmap
from fitcli.tasks.classify.patch_map import evidence_map
from fitcli.tasks.classify.targets.kinds import kind_of
from fitcli.tasks.classify.task import TASK as CLASSIFY
from fitcli.tasks.load import load_run

TRAINED = 8_000
"""Digits for training and validation canvases; the others are for test canvases."""

SEEDS = {"train": 1, "val": 2, "test": 0}
"""Seeds of the canvases of each split; those of training and test are from the recipe."""

QUESTIONS = ("label:majority", "label:max", "label:top", "labels:multi")

POINTED = 5
"""Patches with most evidence that count for the pointing score."""

PUBLISHED: dict[int, dict[str, Any]] = {
    1500: {
        "system": "Iterative Patch Selection, 1,000 canvases of MNIST training digits, 50 strokes, 100 epochs",
        "accuracy": {"majority": 0.882, "max": 0.807, "top": 0.745, "multi": 0.443},
        "peak_gb_of_batch_16": 1.84,
        "seconds_per_step_of_batch_16": 0.375,
        "source": "MRiffiAslett/ips_MaxRiffiAslett, logs; memory and time on a GPU that they do not name",
    },
    3000: {
        "system": "Iterative Patch Selection, 1,000 canvases of MNIST training digits, 800 strokes, 100 epochs",
        "accuracy": {"majority": 0.733, "max": 0.702, "top": 0.638, "multi": 0.227},
        "source": "MRiffiAslett/ips_MaxRiffiAslett, logs",
    },
}
"""Published figures to compare with, by the side of the canvas."""

RECIPE = Path(__file__).parents[2] / "recipes" / "megapixel-mnist.toml"


def write_dataset(work: Path, data: Path, options: argparse.Namespace) -> Path:
    """Write the canvases as TIFF files, and return a CSV that lists them."""
    padded, labels = read_digits(data)
    digits = padded[:, 2:-2, 2:-2]
    (work / "canvases").mkdir(parents=True, exist_ok=True)
    rows = []
    for split, count in (("train", options.train), ("val", options.validation), ("test", options.test)):
        part = slice(TRAINED) if split != "test" else slice(TRAINED, None)
        size, seed = (options.side, options.side), SEEDS[split]
        made = canvases(digits[part], labels[part], count, size, options.noise, options.patterns, seed)
        for number, canvas in enumerate(made):
            name = f"canvases/{split}-{number:05}.tif"
            _save(work / name, canvas)
            multi = SEPARATOR.join(map(str, canvas.present))
            places = ";".join(f"{top},{left}" for top, left in canvas.places)
            rows.append([name, canvas.majority, canvas.largest, canvas.top, multi, split, places])
    listing = work / "canvases.csv"
    with listing.open("w", newline="") as file:
        csv.writer(file).writerows([["path", *QUESTIONS, "split", "places"], *rows])
    return listing


def _save(path: Path, canvas: Canvas) -> None:
    height, width = canvas.pixels.shape
    info = ImageInfo(height=height, width=width, channels=1, dtype=np.dtype(np.uint8))
    with create_image(path, info) as image:
        image.write(Window(0, 0, height, width), canvas.pixels[..., None])


def train(listing: Path, run: Path, options: argparse.Namespace) -> bool:
    """Start or resume training, for `options.minutes` at most; return whether the run is complete."""
    how = ["--resume"] if (run / "config.json").exists() else ["--recipe", options.recipe, *shlex.split(options.more)]
    how += [] if options.minutes is None else ["--max-minutes", options.minutes]
    command = [sys.executable, "-m", "fitcli", "train", listing, "--out", run, "--device", options.device, *how]
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)
    output, _ = process.communicate()
    if process.returncode:
        raise SystemExit(process.returncode)
    print(output, end="")
    return "--resume" not in output


def score(listing: Path, run: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Score all test canvases with the code of `fit classify`."""
    runtime = choose_runtime(options.device, "fp32")
    checkpoint = load_run(run, runtime, CLASSIFY)
    with listing.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    right, pointed, by_chance = [], [], []
    for number, row in enumerate(rows):
        places = np.array([place.split(",") for place in row["places"].split(";")], int)
        with open_image(listing.parent / row["path"]) as image:
            result = classify_image(checkpoint, image, runtime, keep_evidence=True)
            inked = _inked(image, result.grid)
            if number < options.heatmaps:
                write_heatmap(run.parent / f"heatmap-{number}.png", image, result)
        answers = zip(checkpoint.config.class_targets, result.target_probabilities, QUESTIONS, strict=True)
        right.append([kind_of(target).text(target, values) == row[column] for target, values, column in answers])
        on_digits = _on_digits(result, places)
        evidence = evidence_map(result)
        hottest = np.argsort(-evidence, axis=None, kind="stable")[:POINTED]
        pointed.append(on_digits.ravel()[hottest].mean())
        by_chance.append(on_digits[inked].mean())
    names = [column.partition(":")[2] for column in QUESTIONS]
    return {
        "accuracy": dict(zip(names, np.mean(right, axis=0).tolist(), strict=True)),
        "chance": _chance(listing),
        "pointing_score": float(np.mean(pointed)),
        "pointing_by_chance": float(np.mean(by_chance)),
        "test_canvases": len(rows),
    }


def _on_digits(result: Classification, places: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return for each patch [rows columns] whether its centre lies on a digit."""
    patch, size = result.grid.patch, result.grid.size
    rows, columns = (np.arange(-(-side // patch)) * patch + patch / 2 for side in size)
    centres = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1)[None]
    inside = (centres >= places[:, None, None]) & (centres < places[:, None, None] + SIDE)
    return np.asarray(inside.all(axis=-1).any(axis=0))


def _inked(image: ImageReader, grid: PatchGrid) -> NDArray[np.bool_]:
    """Return for each patch [rows columns] whether it has any ink."""
    pixels = np.asarray(image.read(Window(0, 0, *grid.size)).any(axis=-1))
    for axis, side in enumerate(grid.size):
        pixels = np.logical_or.reduceat(pixels, list(range(0, side, grid.patch)), axis)
    return pixels


def _chance(listing: Path) -> dict[str, float]:
    """Return the accuracy on the test canvases of the most common answer of the training canvases."""
    with listing.open(newline="") as file:
        rows = list(csv.DictReader(file))
    accuracy = {}
    for column in QUESTIONS:
        answers, counts = np.unique([row[column] for row in rows if row["split"] == "train"], return_counts=True)
        commonest = answers[counts.argmax()]
        tested = [row[column] == commonest for row in rows if row["split"] == "test"]
        accuracy[column.partition(":")[2]] = float(np.mean(tested))
    return accuracy


def training(run: Path) -> dict[str, Any]:
    """Return the settings, steps, time and memory of the training."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    steps = [line for line in lines if line["kind"] == "train"]
    settings = json.loads((run / "training" / "settings.json").read_text(encoding="utf-8"))
    batch = settings["batch_size"] * settings["accumulate"]
    seconds = [batch / step["images_per_second"] for step in steps]
    return {
        "settings": settings,
        "steps": steps[-1]["step"],
        "epochs": steps[-1]["epoch"],
        "minutes_of_steps": sum(seconds) / 60,
        "median_seconds_per_step": float(np.median(seconds)),
        "peak_bytes": max(step["peak_bytes"] for step in steps),
        "validation": [line for line in lines if line["kind"] == "validation"],
    }


def draw_curves(run: Path, path: Path) -> None:
    """Plot the accuracy of training and validation canvases for every question, epoch by epoch."""
    from matplotlib.figure import Figure

    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    steps = [line for line in lines if line["kind"] == "train"]
    validation = [line for line in lines if line["kind"] == "validation"]
    epoch_of = {step["step"]: step["epoch"] for step in steps}
    figure = Figure(figsize=(12, 3.2), layout="constrained")
    for axes, column in zip(figure.subplots(1, 4, sharey=True), QUESTIONS, strict=True):
        name = column.partition(":")[2]
        epochs = np.array([step["epoch"] for step in steps])
        accuracy = np.array([step[f"accuracy_{name}"] for step in steps])
        whole = np.ceil(epochs).astype(int)
        means = [accuracy[whole == number].mean() for number in np.unique(whole)]
        axes.plot(np.unique(whole), means, label="training", color="0.6")
        shown = [epoch_of[line["step"]] for line in validation]
        axes.plot(shown, [line[f"accuracy_{name}"] for line in validation], label="validation")
        axes.set(title=name, xlabel="epoch", ylim=(0, 1))
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("accuracy")
    figure.axes[0].legend(fontsize=8)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the published files")
    parser.add_argument("--work", type=Path, required=True, help="folder for the canvases, the run and the pictures")
    parser.add_argument("--side", type=int, default=448, help="pixels per side of a canvas")
    parser.add_argument("--noise", type=int, default=12, help="strokes on a canvas")
    parser.add_argument("--patterns", type=int, default=50, help="patterns that the strokes are chosen from")
    parser.add_argument("--train", type=int, default=1000, help="canvases to train on")
    parser.add_argument("--validation", type=int, default=100, help="canvases to choose the best weights by")
    parser.add_argument("--test", type=int, default=500, help="canvases to score")
    parser.add_argument("--recipe", type=Path, default=RECIPE, help="recipe of `fit train`")
    parser.add_argument("--more", default="", help="options of `fit train` that override the recipe")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--minutes", type=float, help="stop training after so long; the same command resumes")
    parser.add_argument("--heatmaps", type=int, default=3, help="test canvases to draw")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    options = parser.parse_args()
    listing, run = options.work / "canvases.csv", options.work / "run"
    if not listing.exists():
        write_dataset(options.work, options.data, options)
    ended = train(listing, run, options)
    draw_curves(run, options.work / "curves.png")
    if not ended:
        print("the time is over: repeat the command to resume")
        return
    results = {
        "data": f"MNIST test digits: {TRAINED:,} for training and validation canvases, the other 2,000 for the test",
        "canvases": {
            **{name: getattr(options, name) for name in ("side", "noise", "patterns", "train", "validation", "test")},
            **{"digits": DIGITS, "seeds": SEEDS},
        },
        **score(listing, run, options),
        **({"published": PUBLISHED[options.side]} if options.side in PUBLISHED else {}),
        "training": training(run),
    }
    print(json.dumps({name: value for name, value in results.items() if name != "training"}, indent=2))
    save_results(options.out, ["torch", "numpy"], results)


if __name__ == "__main__":
    main()
