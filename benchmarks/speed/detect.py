"""Measures `fit detect` on one large image with many objects, and how a million candidates are decided about.

    python -m benchmarks.speed.detect --checkpoint RUN [--preset mini] [--size 16384] [--memory 1GiB]
                                      [--candidates 1000000] [--out FILE.json]

RUN was trained with this preset on the data set of `fit demo --task detect`. The image repeats scenes of marks of 1024
pixels per side, as a JPEG TIFF with a pyramid: 28,000 marks at 16,384. Fresh processes read it with the same limit of
memory: `fit classify` with an untrained model of the preset, and `fit detect`, which writes a GeoJSON file.

decoding: share of the CPU time of `fit detect` in which candidates are found, collected, compared and suppressed. Goal:
below 0.05.
memory: peak resident size over that of Python with torch imported. Goal: that of `fit classify` and 64 bytes an object.
decided: CPU seconds to decide about so many random candidates, each of which overlaps several others. Goal: below 10.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed.streaming import make_run
from benchmarks.support.clock import Clock
from benchmarks.support.image_sources import WINDOW, write_image
from benchmarks.support.machine import save_results
from benchmarks.support.processes import peak_with_torch, resident_bytes, run_python
from fitcli.demo.mark_scenes import MarkScene
from fitcli.images.window import Window
from fitcli.tasks.detect.candidates import CandidateFinder
from fitcli.tasks.detect.cell_layout import CellLayout
from fitcli.tasks.detect.detections import CandidateCollector

MODULE = "benchmarks.speed.detect"

SCENES = 8
"""Number of different windows of the image."""

SEED = 800_000_000
"""Seeds of the scenes begin here, far from those of `fit demo`."""

LAYOUT = CellLayout(patch=16, group=8, cells=4)
"""Cells of the preset mini, for `decide`."""


def scenes() -> list[MarkScene]:
    """Return the scenes that the image repeats."""
    return [MarkScene(SEED + number, WINDOW, WINDOW) for number in range(SCENES)]


def classify_image(image: Path, run: Path, memory: int, work: Path) -> dict[str, Any]:
    """Run `fit classify` in this process and return its figures."""
    from fitcli.commands.classify import classify

    began = time.process_time()
    classify([str(image)], run, memory=memory)
    return {"cpu_seconds": time.process_time() - began, "peak_bytes": resident_bytes("VmHWM")}


def detect_image(image: Path, run: Path, memory: int, work: Path) -> dict[str, Any]:
    """Run `fit detect` in this process and return its figures."""
    import fitcli.tasks.detect.detect_files as detect_files
    from fitcli.commands.detect import detect

    finding, deciding, writing = Clock(), Clock(), Clock()
    finding.around(CandidateFinder, "find")
    finding.around(CandidateCollector, "put")
    deciding.around(CandidateCollector, "detections")
    writing.around(detect_files, "write_objects")
    began, out = time.process_time(), work / "found.geojson"
    detect([str(image)], run, out, memory=memory)
    cpu = time.process_time() - began
    with out.open(encoding="utf-8") as file:
        found = sum(1 for line in file if line.startswith('{"type":"Feature"'))
    return {
        "cpu_seconds": cpu,
        "peak_bytes": resident_bytes("VmHWM"),
        "found": found,
        "finding_cpu_seconds": finding.cpu,
        "deciding_cpu_seconds": deciding.cpu,
        "writing_cpu_seconds": writing.cpu,
        "decoding": (finding.cpu + deciding.cpu) / cpu,
    }


def decide(candidates: int) -> dict[str, Any]:
    """Decide about random candidates and return the figures."""
    rng = np.random.default_rng(0)
    side = 2 * int(np.ceil(np.sqrt(candidates)))
    # Each has a square of 2 x 2 cells for itself.
    places = np.stack(np.divmod(rng.permutation((side // 2) ** 2)[:candidates], side // 2), axis=1) * 2
    cells = places + rng.integers(0, 2, (candidates, 1))
    values = np.empty((candidates, 9), np.float32)
    values[:, 0], values[:, 1] = rng.uniform(0.05, 1, candidates), rng.integers(0, 3, candidates)
    values[:, 2:4], values[:, 4] = cells % LAYOUT.side, 1
    values[:, 5:] = rng.uniform(2, 4, (candidates, 4))
    collector, size = CandidateCollector(LAYOUT, one_per_place=True), (side * LAYOUT.cell, side * LAYOUT.cell)
    began = time.process_time()
    for part in np.array_split(np.arange(candidates), max(1, candidates // 1000)):
        collector.put((cells[part] // LAYOUT.side).tolist(), values[part, None])
    found = collector.detections(size)
    return {"candidates": candidates, "kept": len(found), "cpu_seconds": time.process_time() - began}


def main() -> None:
    from fitcli.commands.options import parse_size

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--preset", default="mini")
    parser.add_argument("--size", type=int, default=16_384)
    parser.add_argument("--memory", default="1GiB")
    parser.add_argument("--candidates", type=int, default=1_000_000)
    parser.add_argument("--image", type=Path, help="Measure one command on this image in this process.")
    parser.add_argument("--command", choices=("classify", "detect"))
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fit-detect-") as folder:
        work = Path(folder)
        if given.image is not None:
            measure = detect_image if given.command == "detect" else classify_image
            print(json.dumps(measure(given.image, given.checkpoint, parse_size(given.memory), work)))
            return
        drawn = scenes()
        write_image(
            work / "large.tif", given.size, "jpeg", [each.render(Window(0, 0, WINDOW, WINDOW)) for each in drawn]
        )
        figures, floor = dict[str, Any](), peak_with_torch()
        for name, run in (("classify", make_run(work, given.preset)), ("detect", given.checkpoint)):
            options = ["--image", str(work / "large.tif"), "--checkpoint", str(run), "--memory", given.memory]
            figures[name] = json.loads(run_python("-m", MODULE, *options, "--command", name).splitlines()[-1])
            figures[name]["above_torch_bytes"] = figures[name]["peak_bytes"] - floor
    figures["decided"] = decide(given.candidates)
    repeats = (-(-given.size // WINDOW)) ** 2
    true = sum(len(drawn[number % SCENES].boxes) for number in range(repeats))
    figures["more_bytes_per_object"] = (figures["detect"]["peak_bytes"] - figures["classify"]["peak_bytes"]) / true
    for name, values in figures.items():
        print(f"{name:22} {json.dumps(values)}")
    limits = {"preset": given.preset, "size": given.size, "memory": given.memory, "true": true}
    save_results(given.out, ["torch", "numpy"], {**limits, **figures})


if __name__ == "__main__":
    main()
