"""Compares streamed inference with a plain forward pass, and measures the memory of `fit classify`.

    python -m benchmarks.speed.streaming [--size 4096] [--preset tiny] [--memory-sizes 8192 16384] [--out FILE.json]

computing: time of an encoder over decoded pixels, a handful of groups at a time, over that of its plain forward pass on
the same pixels. Goal: at most 0.95.
reading: time of the streamed pass from a JPEG TIFF on disk, over the larger of decoding alone and streaming decoded
pixels. Goal: at most 1.15.
Both are medians of ratios within interleaved repetitions. Wall time counts, because the pass overlaps reading and
computing in threads. CPU time is shown beside it, because other jobs on the machine disturb it less.
memory: peak resident size of a fresh `fit classify --memory 1GiB` over that of Python with torch imported.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from benchmarks.support.image_sources import slide_window, write_image
from benchmarks.support.machine import save_results
from benchmarks.support.processes import peak_with_torch, resident_bytes, run_python, timed
from fitcli.images.open import open_image
from fitcli.memory.handfuls import usual_handful
from fitcli.patches.cutting import groups_of, normalize, read_patches
from fitcli.patches.grid import PatchGrid
from fitcli.patches.preprocessing import Preprocessing
from fitcli.runs.config import RunConfig, save_config
from fitcli.runs.weights import save_weights
from fitcli.streaming.prefetch import prefetch
from fitcli.streaming.sweeps import PassOutputs, Streaming
from fitcli.tasks.classify.config import ClassifyDetails
from fitcli.tasks.encoding.stream import stream_encoder
from models.build import build
from models.presets import classifier_preset

MODULE = "benchmarks.speed.streaming"
PIXELS = Preprocessing(channels=3, dtype="uint8", mean=(150.0,) * 3, std=(60.0,) * 3)
MEAN, STD = torch.tensor(PIXELS.mean), torch.tensor(PIXELS.std)
Job = Callable[[], object]


def jobs(image_path: Path, preset: str, precision: str) -> dict[str, Job]:
    """Return the passes to compare, by name."""
    config = classifier_preset(preset, 3, 2)
    encoder = build(config).eval().requires_grad_(False).encoder
    image = open_image(image_path)
    grid = PatchGrid(image.info.size, config.patch, config.group)
    places, groups = list(grid.coordinates()), groups_of(grid)
    how = Streaming(handful=usual_handful(config, "pass", "cpu"))
    decoded = read_patches(image, grid, places)

    def autocast() -> Any:
        return torch.autocast("cpu", torch.bfloat16) if precision == "bf16" else nullcontext()

    def prepare(patches: torch.Tensor) -> torch.Tensor:
        return normalize(patches, MEAN, STD)

    def read(part: slice) -> torch.Tensor:
        return read_patches(image, grid, places[part])

    def plain() -> object:
        with torch.inference_mode(), autocast():
            return encoder(prepare(decoded), groups).latents

    def streamed(load: Callable[[slice], torch.Tensor]) -> object:
        with torch.inference_mode(), autocast():
            return stream_encoder(encoder, groups, load, how, PassOutputs(), prepare)

    def decode() -> object:
        return sum(len(patches) for patches in prefetch(read, how.slices(len(places))))

    return {
        "plain": plain,
        "streamed": lambda: streamed(lambda part: decoded[part]),
        "decode": decode,
        "read and streamed": lambda: streamed(read),
    }


def compare(image_path: Path, preset: str, precision: str, repeats: int) -> dict[str, Any]:
    """Return the ratios of wall and CPU time; the first round is not measured."""
    named = jobs(image_path, preset, precision)
    rounds = [{name: timed(job) for name, job in named.items()} for _ in range(repeats + 1)][1:]

    def ratios(kind: int) -> dict[str, list[float]]:
        times = [{name: pair[kind] for name, pair in one.items()} for one in rounds]
        return {
            "computing": [one["streamed"] / one["plain"] for one in times],
            "reading": [one["read and streamed"] / max(one["decode"], one["streamed"]) for one in times],
        }

    return {
        "precision": precision,
        "seconds": {name: statistics.median(one[name][1] for one in rounds) for name in named},
        "wall": ratios(1),
        "cpu": ratios(0),
    }


def make_run(folder: Path, preset: str) -> Path:
    """Create the run folder of an untrained model: time and memory do not depend on the weights."""
    run, model = folder / "run", classifier_preset(preset, 3, 2)
    run.mkdir()
    save_config(run, RunConfig(model=model, preprocessing=PIXELS, classes=("a", "b"), details=ClassifyDetails()))
    save_weights(run, build(model))
    return run


def measure_memory(image_path: Path, run: Path, memory: str) -> dict[str, Any]:
    """Return the JSON of a fresh `fit classify`, and its peak resident size over that of Python with torch."""
    floor = peak_with_torch() / 1e6
    document = json.loads(run_python("-m", MODULE, "--child", str(image_path), str(run), memory))
    return {**document, "megabytes_over_torch": document["peak_megabytes"] - floor}


def child(image_path: str, run: str, memory: str) -> None:
    """In a fresh process: classify the image and print the JSON document, with the peak resident size."""
    from typer.testing import CliRunner

    from fitcli.app import app

    arguments = ["classify", image_path, "--checkpoint", run, "--memory", memory, "--json", "--device", "cpu"]
    result = CliRunner().invoke(app, arguments)
    if result.exit_code != 0:
        raise SystemExit(result.stderr)
    (document,) = json.loads(result.stdout)
    print(json.dumps({**document, "peak_megabytes": resident_bytes("VmHWM") / 1e6}))


def run_all(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    variants = [slide_window(seed) for seed in range(4)]
    results: dict[str, Any] = {"preset": options.preset, "size": options.size, "speed": [], "memory": []}
    if options.repeats:
        image = folder / "image.tif"
        write_image(image, options.size, "jpeg", variants)
        for precision in ("fp32", "bf16"):
            results["speed"].append(show_speed(compare(image, options.preset, precision, options.repeats)))
    run = make_run(folder, options.preset)
    for size in options.memory_sizes:
        image = folder / f"{size}.tif"
        write_image(image, size, "jpeg", variants)
        results["memory"].append(show_memory(size, measure_memory(image, run, options.memory)))
        image.unlink()
    return results


def show_speed(row: dict[str, Any]) -> dict[str, Any]:
    for name in ("computing", "reading"):
        wall, cpu = row["wall"][name], row["cpu"][name]
        print(
            f"{name:10} {row['precision']:5} {statistics.median(wall):6.2f} [{min(wall):.2f}-{max(wall):.2f}] of wall "
            f"time, {statistics.median(cpu):.2f} [{min(cpu):.2f}-{max(cpu):.2f}] of CPU time",
            flush=True,
        )
    print("seconds:", ", ".join(f"{name} {seconds:.2f}" for name, seconds in row["seconds"].items()), flush=True)
    return row


def show_memory(size: int, row: dict[str, Any]) -> dict[str, Any]:
    plan = row["memory"]
    print(
        f"{size:6} x {size:<6} {row['megabytes_over_torch']:6.0f} MB, tokens on {plan['store']}, "
        f"{plan['handful_groups']} groups at a time, {row['seconds']:.0f} s",
        flush=True,
    )
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=4096, help="side of the image for speed, in pixels")
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--repeats", type=int, default=5, help="rounds for speed; 0 skips it")
    parser.add_argument("--memory", default="1GiB", help="memory budget of `fit classify`")
    parser.add_argument(
        "--memory-sizes", type=int, nargs="*", default=[8192, 16384], help="sides of the images for memory"
    )
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return child(*options.child)
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        results = run_all(Path(folder), options)
    save_results(options.out, ["torch", "numpy", "imagecodecs"], results, threads=options.threads)


if __name__ == "__main__":
    main()
