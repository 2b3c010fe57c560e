"""Measures what each kind of augmentation takes when an image is read for training.

    python -m benchmarks.speed.augmentation [--size PIXELS] [--repeats N] [--out FILE.json]

Reads one slide-like image (TIFF, JPEG chunks) whole, in the groups of the preset `tiny`, without augmentation and with
each kind at its usual strength, in an epoch in which blur, noise and a left-out channel are there. Rounds are
interleaved, and the CPU seconds are the least of all rounds. One thread.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.support.image_sources import WINDOW, slide_window, write_image
from benchmarks.support.machine import save_results
from fitcli.data.dataset import Sample
from fitcli.data.image_change import draw_change
from fitcli.data.place import Layout, PlaceRules
from fitcli.data.read_item import Reading, read_item
from fitcli.distributed.world import Axis
from fitcli.patches.preprocessing import CURRENT_RULES, Preprocessing
from fitcli.runs.augmentations import KINDS, SETS, Augmentations, parse_augmentations
from fitcli.tasks.class_targets import ClassLabelReader

PIXELS = Preprocessing(
    channels=3, dtype="uint8", mean=(180.0,) * 3, std=(40.0,) * 3, limits=(0, 255), rules=CURRENT_RULES
)


def seconds(path: Path, augmentations: Augmentations, epoch: int) -> float:
    """Return the CPU seconds of reading an image as an item of an epoch."""
    reading = Reading(
        layout=Layout(patch=16, group=16),
        rules=PlaceRules(augment=True, augmentations=augmentations),
        preprocessing=PIXELS,
        targets=ClassLabelReader(),
    )
    began = time.process_time()
    read_item(reading, Sample(path, 0), epoch, 0, Axis())
    return time.process_time() - began


def full_epoch(augmentations: Augmentations) -> int:
    """Return an epoch in which all kinds that are drawn for some images are there, and the size hardly changes."""
    for epoch in range(10_000):
        change = draw_change(augmentations, 3, 0, epoch, 0)
        there = [bool(value) or not asked for value, asked in (
            (change.blur, augmentations.blur), (change.noise, augmentations.noise), (change.dropped, augmentations.drop)
        )]  # fmt: skip
        if all(there) and abs(np.log(change.factor)) < 0.03:
            return epoch
    raise AssertionError("some epoch has them")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=4096, help="side of the image in pixels")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    chosen = {"none": Augmentations()}
    chosen |= {name: parse_augmentations(name) for name in (*KINDS, *(name for name in SETS if name != "bands"))}
    epochs = {name: full_epoch(each) for name, each in chosen.items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "slide.tif"
        write_image(path, options.size, "jpeg", [slide_window(seed, WINDOW) for seed in range(3)])
        rounds: list[dict[str, float]] = [
            {name: seconds(path, each, epochs[name]) for name, each in chosen.items()} for _ in range(options.repeats)
        ]
    least = {name: min(each[name] for each in rounds) for name in chosen}
    results: dict[str, Any] = {
        name: {"cpu_seconds": found, "ratio": found / least["none"]} for name, found in least.items()
    }
    for name, row in results.items():
        print(f"{name:10} {row['cpu_seconds']:6.2f} s  {row['ratio']:5.2f}")
    save_results(options.out, ["torch", "numpy"], {"size": options.size, "kinds": results}, threads=1)


if __name__ == "__main__":
    main()
