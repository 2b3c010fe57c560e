"""Measures streamed generation: time per step, memory, and seams between groups.

    python -m benchmarks.speed.generate [--size 2048] [--preset tiny] [--memory-sizes 4096] [--seam-runs RUN ...]
        [--output-head overlap] [--out FILE.json]

step: time of one streamed denoising step, with the canvas at rest, over that of the bare denoiser with a linear output
head on the same patches in memory (called twice with guidance). Goal: at most 1.15. Medians of ratios within
interleaved repetitions.
memory: peak resident size of a fresh `fit generate --memory 1GiB` over that of Python with torch imported.
seams: mean absolute difference of neighbouring pixels across the borders of groups over that inside groups, in images
that trained runs generate, with and without `--shift-grid`. 1 means that groups leave no trace. Borders of patches
inside groups are shown beside it, because a network may leave traces of those too.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.support.machine import save_results
from benchmarks.support.processes import peak_with_torch, resident_bytes, run_python, timed
from fitcli.images.open import open_image
from fitcli.images.window import Window
from fitcli.memory.handfuls import usual_handful
from fitcli.noise import group_noise
from fitcli.patches.preprocessing import Preprocessing
from fitcli.runs.config import RunConfig, save_config
from fitcli.runs.weights import save_weights
from fitcli.streaming.sweeps import Streaming
from fitcli.streaming.token_store import StoreKind
from fitcli.tasks.diffusion.canvas import CanvasLayout, open_canvas
from fitcli.tasks.diffusion.config import DiffusionConfig, diffusion_of
from fitcli.tasks.diffusion.samplers import find_step
from fitcli.tasks.diffusion.sampling import Hooks, Quantity, Sampling, sample
from fitcli.tasks.diffusion.streamed_view import StreamedView
from fitcli.tasks.load import load_config
from models.build import build
from models.presets import denoiser_preset

MODULE = "benchmarks.speed.generate"
PIXELS = Preprocessing(channels=3, dtype="uint8", mean=(127.0,) * 3, std=(60.0,) * 3)
Job = Callable[[], object]


def step_jobs(name: str, head: str, size: int, sampler: str, guidance: float, kind: StoreKind) -> dict[str, Job]:
    """Return the bare step with a linear output head and the streamed step with the given one, by name."""
    config, patch = denoiser_preset(name, PIXELS.channels, classes=2, changes={"output_head": head})
    model = build(config).eval().requires_grad_(False)
    linear = build(replace(config, output_patch=None)).eval().requires_grad_(False)
    side = -(-size // (patch * config.group)) * config.group
    layout, cpu = CanvasLayout(side, side, config.group), torch.device("cpu")
    names: list[Quantity] = ["x", "data", "unconditional"]
    canvases = {kept: open_canvas(kind, side, side, config.values, cpu) for kept in names}
    how = Streaming(handful=usual_handful(config, "pass", "cpu"))

    def noise(k: int, part: slice) -> torch.Tensor:
        return group_noise(0, "step", range(part.start, part.stop), (config.tokens, config.values), step=k)

    for part in how.slices(layout.count):
        layout.write(canvases["x"], part, noise(0, part))
    patches, groups = layout.read(canvases["x"], slice(0, layout.count)), layout.groups()
    view = StreamedView(model, layout, how, canvases, canvases)
    condition, level = torch.eye(2)[:1, None], torch.tensor([0.5])
    sampling = Sampling(steps=1000, sampler=find_step(sampler), prediction="v", guidance=guidance)

    def bare() -> object:
        with torch.inference_mode():
            previous = torch.zeros(layout.count, config.latents, config.latent_width)
            return [linear(patches, groups, level, condition, previous) for _ in range(2 if guidance else 1)]

    steps = sample(lambda k: view, sampling, torch.zeros(1), condition, Hooks(noise=noise))
    return {"bare": bare, "streamed": lambda: next(steps)}


def compare(options: argparse.Namespace, sampler: str, guidance: float, kind: StoreKind) -> dict[str, Any]:
    """Return the ratios of wall and CPU time; the first round is not measured."""
    named = step_jobs(options.preset, options.output_head, options.size, sampler, guidance, kind)
    rounds = [{name: timed(job) for name, job in named.items()} for _ in range(options.repeats + 1)][1:]
    return {
        "sampler": sampler,
        "guidance": guidance,
        "canvas": kind,
        "seconds": {name: statistics.median(one[name][1] for one in rounds) for name in named},
        "wall": [one["streamed"][1] / one["bare"][1] for one in rounds],
        "cpu": [one["streamed"][0] / one["bare"][0] for one in rounds],
    }


def show_step(row: dict[str, Any]) -> dict[str, Any]:
    wall, cpu = statistics.median(row["wall"]), statistics.median(row["cpu"])
    print(
        f"{row['sampler']:5} guidance {row['guidance']}, canvas on {row['canvas']:4}: {wall:.2f} "
        f"[{min(row['wall']):.2f}-{max(row['wall']):.2f}] of wall time, {cpu:.2f} of CPU time; "
        f"{row['seconds']['streamed']:.2f} s per step",
        flush=True,
    )
    return row


def make_run(folder: Path, preset: str, head: str) -> Path:
    """Create the run folder of an untrained model: time and memory do not depend on the weights."""
    changes = {"output_head": head}
    run, (model, patch) = folder / "run", denoiser_preset(preset, PIXELS.channels, classes=2, changes=changes)
    run.mkdir()
    diffusion = DiffusionConfig(patch=patch, size=(256, 256))
    save_config(
        run,
        RunConfig(model=model, preprocessing=PIXELS, classes=("a", "b"), details=diffusion),
    )
    save_weights(run, build(model))
    return run


def measure_memory(folder: Path, run: Path, size: int, memory: str, steps: int, more: list[str]) -> dict[str, Any]:
    """Return the JSON of a fresh `fit generate`, and its peak resident size over that of Python with torch."""
    floor = peak_with_torch() / 1e6
    arguments = ["--checkpoint", str(run), "--out", str(folder / "out.tif"), "--overwrite", "--res", str(size)]
    arguments += ["--memory", memory, "--steps", str(steps), "--json", "--device", "cpu", *more]
    (document,) = json.loads(run_python("-m", MODULE, "--child", *arguments))
    return {**document, "options": more, "megabytes_over_torch": document["peak_megabytes"] - floor}


def show_memory(row: dict[str, Any]) -> dict[str, Any]:
    plan = row["memory"]
    print(
        f"{row['width']:6} x {row['height']:<6} {' '.join(row['options']):25} {row['megabytes_over_torch']:6.0f} MB, "
        f"tokens on {plan['store']}, canvas on {plan['canvas']}, {plan['handful_groups']} groups at a time, "
        f"{row['seconds']:.0f} s",
        flush=True,
    )
    return row


def child(arguments: list[str]) -> None:
    """In a fresh process: generate and print the JSON documents, with the peak resident size."""
    from typer.testing import CliRunner

    from fitcli.app import app

    result = CliRunner().invoke(app, ["generate", *arguments])
    if result.exit_code != 0:
        raise SystemExit(result.stderr)
    peak = resident_bytes("VmHWM") / 1e6
    print(json.dumps([{**document, "peak_megabytes": peak} for document in json.loads(result.stdout)]))


def measure_seams(folder: Path, run: Path, size: int, shift: bool) -> dict[str, Any]:
    """Generate an image with a trained run, and return its seams."""
    out = folder / "seams.zarr"
    arguments = ["--checkpoint", str(run), "--out", str(out), "--overwrite", "--res", str(size), "--json"]
    config = load_config(run)
    patch = diffusion_of(config).patch
    if config.classes:
        arguments += ["--label", config.classes[0]]
    run_python("-m", MODULE, "--child", *arguments, "--shift-grid" if shift else "--no-shift-grid")
    with open_image(out) as image:
        pixels = image.read(Window(0, 0, size, size)).astype(np.float32)
    return {"run": str(run), "size": size, "shift_grid": shift, **seams(pixels, patch, patch * config.model.group)}


def seams(pixels: Any, patch: int, side: int) -> dict[str, float]:
    """Return the mean differences of neighbouring pixels across borders.

    Returns:
        `groups_over_within`: across borders of groups, over those across other borders and inside patches.
        `shifted_over_within`: across borders of groups that are shifted by half a group. `patches_over_inside`: across
        the other borders of patches, over those inside patches.
    """
    differences: dict[str, list[float]] = {"groups": [], "shifted": [], "patches": [], "inside": []}
    for axis in (0, 1):
        lines = np.abs(np.diff(pixels, axis=axis)).mean(axis=tuple({0, 1, 2} - {axis}))
        for border, difference in enumerate(lines, start=1):
            kinds = {
                "groups": border % side == 0,
                "shifted": border % side == side // 2,
                "patches": border % patch == 0,
            }
            kind = next((kind for kind, lies_on in kinds.items() if lies_on), "inside")
            differences[kind].append(float(difference))
    means = {name: statistics.fmean(values) for name, values in differences.items() if values}
    within = statistics.fmean(differences["patches"] + differences["inside"])
    return {
        "groups_over_within": means["groups"] / within,
        "shifted_over_within": means["shifted"] / within,
        "patches_over_inside": means["patches"] / means["inside"],
    }


def show_seams(row: dict[str, Any]) -> dict[str, Any]:
    print(
        f"{row['run']} at {row['size']}{' --shift-grid' if row['shift_grid'] else '':14} borders of groups "
        f"{row['groups_over_within']:.3f}, of shifted ones {row['shifted_over_within']:.3f}, "
        f"of other patches {row['patches_over_inside']:.3f}",
        flush=True,
    )
    return row


def run_all(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    results: dict[str, Any] = {"preset": options.preset, "output_head": options.output_head, "size": options.size}
    cases: list[tuple[str, float, StoreKind]] = [
        ("ddim", 0.0, "host"),
        ("dpm", 0.0, "host"),
        ("ddpm", 0.0, "host"),
        ("ddim", 1.0, "host"),
        ("ddim", 0.0, "disk"),
    ]
    results["step"] = [show_step(compare(options, *case)) for case in cases if options.repeats]
    run = make_run(folder, options.preset, options.output_head)
    results["memory"] = [
        show_memory(measure_memory(folder, run, size, options.memory, options.memory_steps, more))
        for size in options.memory_sizes
        for more in ([], ["--label", "a", "--guidance", "1", "--sampler", "dpm"])
    ]
    results["seams"] = [
        show_seams(measure_seams(folder, trained, options.seam_size, shift))
        for trained in options.seam_runs
        for shift in (False, True)
    ]
    return results


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        return child(sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=2048, help="side of the image for time, in pixels")
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--output-head", default="linear", help="output head of the streamed step: linear, overlap")
    parser.add_argument("--repeats", type=int, default=5, help="rounds for time; 0 skips it")
    parser.add_argument("--memory", default="1GiB", help="memory budget of `fit generate`")
    parser.add_argument("--memory-sizes", type=int, nargs="*", default=[4096], help="sides of the images for memory")
    parser.add_argument("--memory-steps", type=int, default=4)
    parser.add_argument("--seam-runs", type=Path, nargs="*", default=[], help="folders of trained runs")
    parser.add_argument("--seam-size", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        results = run_all(Path(folder), options)
    save_results(options.out, ["torch", "numpy"], results, threads=options.threads)


if __name__ == "__main__":
    main()
