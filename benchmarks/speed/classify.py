"""Compares `fit classify` on a large JPEG TIFF with decoding alone and computing alone.

    python -m benchmarks.speed.classify [--size 16384] [--preset tiny] [--precision auto] [--out FILE.json]

command: a fresh `fit classify`: the seconds that it reports for the image, and the wall time of the process.
decode: the same windows, read and cut into patches in the same thread, then discarded.
compute: the same call on an image in memory.
Each runs in its own process, in turn. The ratio is the reported seconds over the larger of the other two. Goal: at most
1.15.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.speed.streaming import make_run
from benchmarks.support.image_sources import slide_window, write_image
from benchmarks.support.machine import save_results
from benchmarks.support.processes import run_python
from fitcli.device.runtime import choose_runtime
from fitcli.images.array_image import ArrayReader
from fitcli.images.base import ImageReader
from fitcli.images.open import open_image
from fitcli.streaming.prefetch import prefetch
from fitcli.streaming.sweeps import Streaming
from fitcli.tasks.classify.classify_image import classify_image
from fitcli.tasks.classify.task import TASK as CLASSIFY
from fitcli.tasks.encoding.encode import EncodingSettings, encoding
from fitcli.tasks.load import load_run

MODULE = "benchmarks.speed.classify"
PARTS = ("command", "decode", "compute")


def command(image: Path, run: Path, precision: str, device: str) -> dict[str, Any]:
    """Return what a fresh `fit classify` reports, and the wall time of its process."""
    arguments = ["-m", "fitcli", "classify", str(image), "--checkpoint", str(run), "--json", "--precision", precision]
    began = time.perf_counter()
    done = subprocess.run([sys.executable, *arguments, "--device", device], capture_output=True, text=True, check=True)
    (report,) = json.loads(done.stdout)
    return {"seconds": report["seconds"], "whole_seconds": time.perf_counter() - began, "memory": report["memory"]}


def child(part: str, image: str, run: str, precision: str, device: str) -> None:
    """In a fresh process: run one part and print its seconds."""
    runtime = choose_runtime(device, precision, inference=True)
    checkpoint = load_run(Path(run), runtime, CLASSIFY)
    with open_image(Path(image)) as reader:
        chosen: ImageReader = reader
        if part == "compute":
            variants = [slide_window(seed) for seed in range(4)]
            count = [-(-side // variants[0].shape[0]) for side in reader.info.size]
            rows = [np.concatenate([variants[(r + c) % 4] for c in range(count[1])], axis=1) for r in range(count[0])]
            chosen = ArrayReader(np.concatenate(rows)[: reader.info.height, : reader.info.width])
        began = time.perf_counter()
        if part == "compute":
            classify_image(checkpoint, chosen, runtime)
        else:
            with encoding(checkpoint, chosen, runtime, EncodingSettings(), purpose="decode") as job:
                handfuls = Streaming(handful=job.plan.handful).slices(len(job.places))
                for _ in prefetch(job.encoder.reading(job.places), handfuls):
                    pass
        print(json.dumps({"seconds": time.perf_counter() - began, "precision": runtime.precision}))


def one_round(image: Path, run: Path, options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Measure every part once."""
    results = {"command": command(image, run, options.precision, options.device)}
    for part in PARTS[1:]:
        arguments = ["--child", part, str(image), str(run), options.precision, options.device]
        results[part] = json.loads(run_python("-m", MODULE, *arguments))
    seconds = {part: results[part]["seconds"] for part in PARTS}
    larger = max(seconds["decode"], seconds["compute"])
    print(
        f"command {seconds['command']:.2f} s (whole process {results['command']['whole_seconds']:.2f} s), decode "
        f"{seconds['decode']:.2f} s, compute {seconds['compute']:.2f} s: {seconds['command'] / larger:.2f}",
        flush=True,
    )
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=16_384, help="side of the image in pixels")
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--data", type=Path, help="folder that keeps the image for later calls")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    parser.add_argument("--child", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return child(*options.child)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.data or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        image = folder / f"{options.size}.tif"
        if not image.exists():
            write_image(image, options.size, "jpeg", [slide_window(seed) for seed in range(4)])
        run = make_run(Path(temporary), options.preset)
        rounds = [one_round(image, run, options) for _ in range(options.repeats)]
    ratios = [one["command"]["seconds"] / max(one["decode"]["seconds"], one["compute"]["seconds"]) for one in rounds]
    print(f"median ratio {statistics.median(ratios):.2f}")
    results = {"preset": options.preset, "size": options.size, "ratios": ratios, "rounds": rounds}
    save_results(options.out, ["torch", "numpy", "imagecodecs"], results, threads=torch.get_num_threads())


if __name__ == "__main__":
    main()
