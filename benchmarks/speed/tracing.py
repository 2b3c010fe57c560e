"""Compares the tracing of a class map in strips with `rasterio.features.shapes` over the whole map.

    python -m benchmarks.speed.tracing [--size CELLS] [--strip ROWS] [--repeats N] [--out FILE.json]

The map has blobs of about 16 cells of four classes, of which one is not traced. Both take turns; seconds are CPU time,
the least of all rounds, and the ratio is the median of the rounds. Memory is what Python and numpy allocate at most,
measured in a round of its own. The files are written from polygons in memory.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.support.machine import save_results
from fitcli.annotations.features import FORMATS, open_features
from fitcli.annotations.rings import Polygon
from fitcli.annotations.trace import Tracer
from fitcli.images.base import ImageInfo

Cells = NDArray[np.uint8]

UNTRACED = 0


def blobs(size: int, side: int, classes: int = 4) -> Cells:
    """Return a map [size, size]: the class whose noise, interpolated between points `side` cells apart, is highest."""
    rng = np.random.default_rng(0)
    place = np.linspace(0, size // side - 1, size)
    low = np.minimum(place.astype(int), size // side - 2)
    weight = (place - low)[:, None]
    highest, cells = np.full((size, size), -np.inf, np.float32), np.zeros((size, size), np.uint8)
    for number in range(classes):
        noise = rng.normal(size=(size // side, size // side)).astype(np.float32)
        for _ in range(2):
            noise = (noise[low] * (1 - weight) + noise[low + 1] * weight).astype(np.float32).T
        cells[noise > highest] = number
        np.maximum(highest, noise, out=highest)
    return cells


def traced(cells: Cells, strip: int) -> Iterator[Polygon]:
    tracer = Tracer(cells.shape[1], untraced=[UNTRACED])
    for first in range(0, len(cells), strip):
        yield from tracer.add(cells[first : first + strip])
    yield from tracer.finish()


def rasterio_shapes(cells: Cells) -> Iterator[object]:
    from rasterio.features import shapes

    yield from shapes(cells, mask=cells != UNTRACED, connectivity=4)


def count(items: Iterator[object]) -> int:
    return sum(1 for _ in items)


def cpu_seconds(job: Callable[[], object]) -> float:
    began = time.process_time()
    job()
    return time.process_time() - began


def peak_bytes(cells: Cells, strip: int) -> int:
    tracemalloc.start()
    try:
        count(traced(cells, strip))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def writing(cells: Cells, strip: int) -> dict[str, dict[str, float]]:
    """Return the CPU seconds and bytes of a file of each format."""
    polygons = list(traced(cells, strip))
    table = SimpleNamespace(names=("background", "a", "b", "c"), colors=(None,) * 4)
    info = ImageInfo(height=len(cells), width=cells.shape[1], channels=1, dtype=np.dtype("u1"))
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for suffix in FORMATS:
            path = Path(folder, f"polygons{suffix}")

            def write(path: Path = path) -> None:
                with open_features(path, table, info) as file:
                    file.write(polygons)

            results[suffix] = {"cpu_seconds": cpu_seconds(write), "bytes": path.stat().st_size}
    return results


def measure(cells: Cells, strip: int, repeats: int) -> dict[str, Any]:
    rounds = [
        (cpu_seconds(lambda: count(traced(cells, strip))), cpu_seconds(lambda: count(rasterio_shapes(cells))))
        for _ in range(repeats)
    ]
    return {
        "polygons": count(traced(cells, strip)),
        "polygons_rasterio": count(rasterio_shapes(cells)),
        "points": sum(len(ring) for polygon in traced(cells, strip) for ring in polygon.rings),
        "cpu_seconds": min(ours for ours, _ in rounds),
        "cpu_seconds_rasterio": min(theirs for _, theirs in rounds),
        "ratio": statistics.median(ours / theirs for ours, theirs in rounds),
        "peak_bytes": peak_bytes(cells, strip),
        "writing": writing(cells, strip),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=4096, help="rows and columns of the map")
    parser.add_argument("--side", type=int, default=16, help="cells between the points of the noise")
    parser.add_argument("--strip", type=int, default=64, help="rows of a strip")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    options = parser.parse_args()
    results = measure(blobs(options.size, options.side), options.strip, options.repeats)
    print(
        f"{results['polygons']} polygons, {results['points']} points: {results['cpu_seconds']:.2f} CPU s in strips, "
        f"{results['cpu_seconds_rasterio']:.2f} s for the whole with rasterio, ratio {results['ratio']:.2f}; "
        f"peak {results['peak_bytes'] / 1e6:.1f} MB"
    )
    for suffix, row in results["writing"].items():
        print(f"{suffix:12} {row['cpu_seconds']:.2f} CPU s, {row['bytes'] / 1e6:.1f} MB")
    save_results(options.out, ["numpy", "rasterio"], results)


if __name__ == "__main__":
    main()
