"""Measures what the figures of generated images cost: `fit evaluate --samples` without generation and without reading.

    python -m benchmarks.speed.quality [--crops 500] [--sides 32 256] [--channels 3] [--out FILE.json]

Sets of crops of noise are compared: seconds per crop that is added to a set (its pyramid and descriptors), and seconds
for sliced Wasserstein distances, the Fréchet distance of vectors of 512 numbers, the steps across borders, and the
search in training images. Memory is the growth of the resident size with the three sets.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.support.machine import save_results
from benchmarks.support.processes import resident_bytes
from fitcli.evaluation.quality.crops import CropSet
from fitcli.evaluation.quality.figures import compare_sets
from fitcli.evaluation.quality.frechet import frechet_distance
from fitcli.evaluation.quality.nearest import NearestSearch, places_of
from fitcli.evaluation.quality.seams import SeamCounter
from fitcli.patches.value_range import PixelRange
from fitcli.tasks.image_sampler import CutSides

BYTES = PixelRange(0, 255, np.dtype(np.uint8))
VECTOR = 512


def seconds(job: Callable[[], object]) -> float:
    """Return how long a job takes."""
    began = time.perf_counter()
    job()
    return time.perf_counter() - began


def measure(side: int, crops: int, channels: int) -> dict[str, Any]:
    """Return seconds and bytes for crops of `side` pixels."""
    random, before = np.random.default_rng(0), resident_bytes("VmRSS")
    sets = [CropSet(name, (side, side), BYTES, crops) for name in ("generated", "real 0", "real 1")]
    pixels = [random.integers(0, 256, (side, side, channels), np.uint8) for _ in range(16)]

    def add() -> None:
        for each in sets:
            for number in range(crops):
                each.add(pixels[number % len(pixels)])

    adding = seconds(add)
    memory = resident_bytes("VmRSS") - before
    vectors = [random.standard_normal((crops, VECTOR)) for _ in range(3)]
    counter, values = SeamCounter(CutSides((64, 64), (8, 8))), BYTES.to_values(pixels[0])
    search = NearestSearch(np.stack([*sets[0].thumbs, *sets[1].thumbs]), (side, side), turned=False)
    window = random.random((4 * side, 4 * side, channels)).astype(np.float32)
    places = places_of(window.shape[:2], (side, side))
    searching = seconds(lambda: search.add(window))
    return {
        "side": side,
        "crops": crops,
        "seconds_per_crop_added": adding / (3 * crops),
        "seconds_of_distances": seconds(lambda: compare_sets(sets[0], (sets[1], sets[2]), 0)),
        "seconds_of_frechet": seconds(
            lambda: [frechet_distance(vectors[0], each) for each in (*vectors[1:], vectors[2])]
        ),
        "seconds_per_megapixel_of_seams": seconds(lambda: counter.add((side, side), lambda w: values[w.slices()]))
        / (side**2 / 1e6),
        "seconds_of_search": searching * min(search.most_places, 10**9) / places,
        "megabytes_of_sets": memory / 1e6,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crops", type=int, default=500, help="crops of each of the three sets")
    parser.add_argument("--sides", type=int, nargs="+", default=[32, 256], help="sides of the crops, in pixels")
    parser.add_argument("--channels", type=int, default=3)
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    options = parser.parse_args()
    rows = [measure(side, options.crops, options.channels) for side in options.sides]
    for row in rows:
        print(", ".join(f"{name} {value:.4g}" for name, value in row.items()), flush=True)
    save_results(options.out, ["numpy"], {"channels": options.channels, "sets": rows})


if __name__ == "__main__":
    main()
