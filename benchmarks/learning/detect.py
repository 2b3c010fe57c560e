"""Scores a run on scenes of small marks of the size that it was trained on, and of sixteen times as many pixels.

    python -m benchmarks.learning.detect --work FOLDER --run RUN [--sides 512 2048] [--out FILE.json]

Writes the data set of `fit demo --task detect` to FOLDER/data, and test scenes of 512 and 2048 pixels beside it.
Make the run first, on one thread:

    fit train FOLDER/data/marks.csv --task detect --preset mini --batch-size 2 --learning-rate 2e-3 --out RUN ...

Goal after 15 CPU minutes: AP50 of at least 0.85 at both sizes, within 0.02 of each other, and a recall of at least 0.9
at a score of 0.3 of marks below 12 pixels. Each row has one choice of what a place has: one object, or one per class.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.support.machine import save_results
from fitcli.annotations.objects.object_set import ObjectSource
from fitcli.data.dataset import Sample
from fitcli.demo.mark_dataset import MarkedFile, make_demo, write_boxes, write_marks
from fitcli.demo.mark_scenes import MarkScene
from fitcli.device.runtime import choose_runtime
from fitcli.images.open import open_image
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.detect.config import ONE_PER_PLACE
from fitcli.tasks.detect.detection_scores import ImageMatches, pooled, summary
from fitcli.tasks.detect.matching import TRUE, Matches
from fitcli.tasks.detect.scorer import DetectionScorer
from fitcli.tasks.detect.task import TASK
from fitcli.tasks.encoding.encode import EncodingSettings
from fitcli.tasks.load import load_run
from models.dense import FITDense

TEST_SCENES = {512: 12, 2048: 2}
"""Number of test scenes by their side; other sides have two."""

TEST_SEED = 900_000_000
"""Seeds of test scenes begin here, far from those of `fit demo`."""

SCORE = 0.3
"""Score at which recall is measured."""

SIZES = ((0, 12), (12, 24), (24, 1000))
"""Ranges of the sides of marks, in pixels."""


def make_data(work: Path, sides: list[int]) -> None:
    """Write the data set and the test scenes that are missing."""
    if not (work / "data").exists():
        make_demo(work / "data")
    for side in sides:
        if (work / f"{side}.csv").exists():
            continue
        files = [
            MarkedFile(f"{side}-{number}.png", "test", MarkScene(TEST_SEED + 100 * side + number, side, side))
            for number in range(TEST_SCENES.get(side, 2))
        ]
        for file in files:
            write_marks(file.scene, work / file.image)
        write_boxes(work / f"{side}.csv", files)


def score(checkpoint: Checkpoint[FITDense], work: Path, side: int, one_per_place: bool) -> dict[str, Any]:
    """Return the scores of a run on the test scenes of a size."""
    checkpoint = checkpoint.chosen({ONE_PER_PLACE: one_per_place})
    scorer = DetectionScorer(checkpoint, choose_runtime("cpu", "fp32"), EncodingSettings())
    began, matches = time.process_time(), []
    names = [f"{side}-{number}.png" for number in range(TEST_SCENES.get(side, 2))]
    for number, name in enumerate(names):
        with open_image(work / name) as image:
            sample = Sample(work / name, ObjectSource(work / f"{side}.csv", name))
            matches.append(ImageMatches.of_row(scorer.score(image, sample, number)))
    seconds = (time.process_time() - began) / len(names)
    found = summary(matches, checkpoint.config.classes, SCORE)
    kept = {key: found[key] for key in ("ap", "ap50", "precision", "recall", "f1", "true", "found", "best_f1")}
    return {
        "side": side,
        ONE_PER_PLACE: one_per_place,
        **kept,
        "recall_by_side": recalls(pooled(matches)),
        "cpu_seconds_per_image": round(seconds, 2),
    }


def recalls(matches: Matches) -> dict[str, float]:
    """Return the recall at a score of marks by their sides."""
    right = (matches.scores >= SCORE) & (matches.kinds[:, 0] == TRUE)
    found = {}
    for low, high in SIZES:
        true = int(np.count_nonzero((matches.true_sides >= low) & (matches.true_sides < high)))
        hits = int(np.count_nonzero(right & (matches.sides >= low) & (matches.sides < high)))
        found[f"{low} to {high}"] = round(hits / max(1, true), 4)
    return found


def main() -> None:
    """Score a run and print a line per size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for the data set and the test scenes")
    parser.add_argument("--run", type=Path, required=True, help="run folder")
    parser.add_argument("--sides", type=int, nargs="+", default=list(TEST_SCENES), help="sides of the test scenes")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    make_data(options.work, options.sides)
    checkpoint = load_run(options.run, choose_runtime("cpu", "fp32"), TASK)
    rows = [score(checkpoint, options.work, side, one) for side in options.sides for one in (True, False)]
    for row in rows:
        print(row)
    save_results(options.out, ["torch", "numpy"], {"score": SCORE, "rows": rows}, threads=options.threads)


if __name__ == "__main__":
    main()
