"""Asks whether a classifier misses planted places that the borders of groups cut.

    python -m benchmarks.learning.planted_shifts slides|scenes|wells --data FOLDER --run RUN [--out FILE.json]

Classifies the images with a single planted place as they are, and moved down or to the right by a quarter and a half of
a group, so that borders cut the place elsewhere, or not at all. The table says how many answers are right by the
largest share of a place that lies in one group. The data set is that of `benchmarks.learning.planted`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.learning.planted_kinds import KINDS
from benchmarks.learning.planted_places import WHERE, Place, plan
from benchmarks.support.machine import save_results
from fitcli.device.runtime import choose_runtime
from fitcli.images.open import open_image
from fitcli.images.shifted import Shifted
from fitcli.tasks.classify.classify_image import classify_image
from fitcli.tasks.classify.task import TASK as CLASSIFY
from fitcli.tasks.load import load_run

SHIFTS = ((0.0, 0.0), (0.25, 0.25), (0.5, 0.5), (0.5, 0.0), (0.0, 0.5))
"""Shifts down and to the right, as shares of the side of a group."""

SHARES = (0.0, 0.55, 0.8, 0.999)
"""Lower bounds of the rows of the table; the last row has the places that no border cuts."""

POINTS = 41
"""Points per side of the grid that measures a disk."""


def largest_share(place: Place, shift: tuple[int, int], side: int) -> float:
    """Return the largest share of a disk that lies in one group.

    Args:
        place: The disk.
        shift: Pixels that the image is moved down and to the right.
        side: Side of a group in pixels.
    """
    y, x = np.mgrid[-1 : 1 : POINTS * 1j, -1 : 1 : POINTS * 1j]
    inside = y**2 + x**2 <= 1
    rows = np.floor((place.y + shift[0] + y[inside] * place.radius) / side)
    columns = np.floor((place.x + shift[1] + x[inside] * place.radius) / side)
    _, counts = np.unique(np.stack([rows, columns]), axis=1, return_counts=True)
    return float(counts.max() / counts.sum())


def by_share(answers: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return how many answers are right in each row of the table."""
    rows = []
    for low, high in zip(SHARES, (*SHARES[1:], np.inf), strict=True):
        own = [each for each in answers if low <= each["share"] < high]
        rows.append({"from_share": low, "answers": len(own), "right": sum(each["right"] for each in own)})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", choices=list(KINDS))
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--run", type=Path, required=True, help="run to ask")
    parser.add_argument("--seed", type=int, default=0, help="seed of the data set")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    runtime = choose_runtime("cpu", "fp32", inference=True)
    checkpoint = load_run(options.run, runtime, CLASSIFY)
    side = checkpoint.model.config.patch * checkpoint.model.config.group
    answers = []
    for image in plan(KINDS[options.dataset], options.seed):
        for down, right in SHIFTS if image.part in WHERE else ():
            shift = round(down * side), round(right * side)
            with open_image(options.data / options.dataset / image.path) as reader:
                moved = Shifted(reader, *shift, outside=0) if any(shift) else reader
                found = classify_image(checkpoint, moved, runtime).probabilities
            right_one = checkpoint.config.classes[int(found.argmax())] == image.label
            share = largest_share(image.places[0], shift, side)
            answers.append({"image": image.path, "shift": shift, "share": round(share, 3), "right": right_one})
    for row in by_share(answers):
        print(f"largest share from {row['from_share']:.1%}: {row['right']} of {row['answers']} right")
    results = {"dataset": options.dataset, "seed": options.seed, "table": by_share(answers), "answers": answers}
    save_results(options.out, ["torch", "numpy"], results, threads=1)


if __name__ == "__main__":
    main()
