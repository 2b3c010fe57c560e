"""Measures `fit segment` on one large image: its memory, and the share of the time that writing takes.

    python -m benchmarks.speed.maps --checkpoint RUN --scene IMAGE [--size 32768] [--memory 1GiB] [--min-area PIXELS]
        [--out FILE.json]

The image repeats a scene, as a JPEG TIFF with a pyramid. The map is written with its pyramid, and its parts as
polygons. A second pass writes nothing, and a third one the map alone.
writing: what map and polygons add to the CPU time of the pass, over that of the pass. Goal: below 0.10. Threads read
and compress beside the pass, so only whole processes can be compared. What tracing and writing of polygons takes grows
with their number, which is stated: a model that is hardly trained gives a map of single cells.
memory: peak resident size over that of Python with torch imported. Goal: at most 1.5 GiB.

A scene and a run on which the map has parts as in real maps:

    fit demo FOLDER --task segment
    fit train FOLDER/small.csv --task segment --preset debug --steps 600 --batch-size 16 --out RUN
"""

from __future__ import annotations

import argparse
import gzip
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.support.image_sources import WINDOW, write_image
from benchmarks.support.machine import save_results
from benchmarks.support.processes import peak_with_torch, resident_bytes, run_python
from fitcli.images.open import open_image
from fitcli.images.window import Window
from fitcli.tasks.segment.class_map import MapWriter

MODULE = "benchmarks.speed.maps"


PARTS = ("everything", "map", "nothing")
"""What a pass writes."""


def measure(image: Path, checkpoint: Path, memory: str, min_area: float, written: str, work: Path) -> dict[str, Any]:
    """Run `fit segment` in this process, writing one of `PARTS`, and return its figures."""
    from fitcli.commands.segment import segment

    if written == "nothing":
        MapWriter.take = MapWriter.finish = lambda *_: None  # type: ignore[method-assign,assignment]
    polygons = work / "polygons.geojson.gz" if written == "everything" else None
    min_area = 0 if polygons is None else min_area
    cpu, wall = time.process_time(), time.perf_counter()
    segment([str(image)], checkpoint, work / "map.tif", polygons=polygons, min_area=min_area, memory=_bytes(memory))
    figures: dict[str, Any] = {
        "wall_seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - cpu,
        "peak_bytes": resident_bytes("VmHWM"),
        "map_bytes": (work / "map.tif").stat().st_size,
    }
    if polygons is not None:
        figures |= {"polygons": _count(polygons), "polygons_bytes": polygons.stat().st_size}
    return figures


def _count(polygons: Path) -> int:
    """Count the features of a file, which has one per line."""
    with gzip.open(polygons, "rt") as file:
        return sum('"Feature"' in line for line in file)


def _bytes(text: str) -> int:
    from fitcli.commands.options import parse_size

    return parse_size(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--scene", type=Path)
    parser.add_argument("--size", type=int, default=32_768)
    parser.add_argument("--memory", default="1GiB")
    parser.add_argument("--min-area", type=float, default=0, help="Least area of a polygon in pixels.")
    parser.add_argument("--image", type=Path, help="Measure this image in this process.")
    parser.add_argument("--written", choices=PARTS, default=PARTS[0], help="What is written of this image.")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fit-maps-") as folder:
        work = Path(folder)
        if given.image is not None:
            print(json.dumps(measure(given.image, given.checkpoint, given.memory, given.min_area, given.written, work)))
            return
        with open_image(given.scene) as scene:
            whole = Window(0, 0, *scene.info.size)
            pixels = scene.read(whole)
        steps = range(0, min(whole.height, whole.width) - WINDOW + 1, WINDOW)
        variants = [pixels[top : top + WINDOW, left : left + WINDOW] for top in steps for left in steps]
        write_image(work / "large.tif", given.size, "jpeg", variants)
        options = ["--image", str(work / "large.tif"), "--checkpoint", str(given.checkpoint), "--memory", given.memory]
        options += ["--min-area", str(given.min_area)]
        passes = {
            part: json.loads(run_python("-m", MODULE, *options, "--written", part).splitlines()[-1]) for part in PARTS
        }
    figures, bare = passes["everything"], passes["nothing"]["cpu_seconds"]
    figures["pass_cpu_seconds"] = bare
    figures["map_over_pass"] = (passes["map"]["cpu_seconds"] - bare) / bare
    figures["writing_over_pass"] = (figures["cpu_seconds"] - bare) / bare
    figures["above_torch_bytes"] = figures["peak_bytes"] - peak_with_torch()
    for name, value in figures.items():
        print(f"{name:24} {value / 2**20:12,.0f} MiB" if name.endswith("bytes") else f"{name:24} {value:12,.3f}")
    save_results(
        given.out,
        ["torch", "numpy"],
        {"size": given.size, "memory": given.memory, "min_area": given.min_area, **figures},
    )


if __name__ == "__main__":
    main()
