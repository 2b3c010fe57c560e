"""Compares the cost of a training step with an answer at every place: FIT, and a U-Net with cells of the same size.

    python -m benchmarks.speed.dense [--presets debug tiny] [--size 512] [--batch 2] [--out FILE.json]

A step is forward and backward over a batch of images, without the optimizer and without reading. The models take turns,
and the least of `--repeats` rounds counts: on a CPU the CPU time of the process divided by its threads, on a GPU wall
time. `times` is the U-Net's time divided by that of FIT. FLOPs are those of the step of one image.
Goal: FIT is at least 10 times cheaper.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.speed.compiled import seconds
from benchmarks.support.machine import save_results
from benchmarks.support.unet import UNet
from fitcli.device.runtime import Runtime
from fitcli.execution.plan import ExecutionPlan
from fitcli.execution.run import run_job
from fitcli.patches.cutting import groups_of
from fitcli.patches.grid import PatchGrid
from fitcli.tasks.registry import find_task
from models.build import build
from models.groups import Groups

TASK = "segment"


class Case(NamedTuple):
    """A model and its work.

    Attributes:
        model: The model.
        step: Runs forward and backward over so many images.
        stride: Side of a cell, in pixels.
        outputs: Outputs per cell.
    """

    model: torch.nn.Module
    step: Callable[[int], object]
    stride: int
    outputs: int


def fit_case(preset: str, size: int, runtime: Runtime) -> Case:
    """Build the training step of a preset."""
    task = find_task(TASK)
    config: Any = task.preset(preset).config
    model = build(config).to(runtime.device).train()
    grid = PatchGrid((size, size), config.patch, config.group)
    one = task.step_input(config)

    def step(images: int) -> None:
        groups = Groups.join([groups_of(grid)] * images).to(runtime.device)
        shape = len(groups.number), *one.shape
        pixels = torch.randint(one.values, shape, dtype=one.dtype, device=runtime.device)
        run_job(task.sample_step(model, groups, lambda part: pixels[part], ExecutionPlan()), ExecutionPlan())

    return Case(model, step, config.patch // config.cells, config.outputs)


def unet_case(like: Case, size: int, runtime: Runtime) -> Case:
    """Build the training step of a U-Net with the outputs of another model."""
    model = UNet(like.outputs, like.stride).to(runtime.device)

    def step(images: int) -> None:
        pixels = torch.rand(images, 3, size, size, device=runtime.device)
        labels = torch.zeros(images, size // like.stride, size // like.stride, dtype=torch.long, device=runtime.device)
        functional.cross_entropy(model(pixels), labels).backward()  # type: ignore[no-untyped-call]

    return like._replace(model=model, step=step)


def measure(preset: str, options: argparse.Namespace, runtime: Runtime) -> dict[str, Any]:
    """Measure a preset and the U-Net in turn."""
    fit = fit_case(preset, options.size, runtime)
    cases = {"FIT": fit, "U-Net": unet_case(fit, options.size, runtime)}
    taken: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(options.repeats + 1):
        for name, case in cases.items():
            case.model.zero_grad(set_to_none=True)
            taken[name].append(seconds(partial(case.step, options.batch), runtime))
    # The first round warms up.
    least = {name: min(each[1:]) for name, each in taken.items()}
    flops = {name: _flops(case) for name, case in cases.items()}
    times = least["U-Net"] / least["FIT"]
    parts = (f"{name} {least[name]:.3f} s, {flops[name] / 1e9:.1f} GFLOP" for name in cases)
    print(f"{preset:6} cells of {fit.stride} pixels: {'; '.join(parts)}: {times:.1f} times", flush=True)
    return {
        "preset": preset,
        "stride": fit.stride,
        "seconds": least,
        "parameters": {name: sum(p.numel() for p in case.model.parameters()) for name, case in cases.items()},
        "flops": flops,
        "times": times,
    }


def _flops(case: Case) -> int:
    with FlopCounterMode(display=False) as counter:
        case.step(1)
    return int(counter.get_total_flops())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--presets", nargs="+", default=["debug", "tiny"])
    parser.add_argument("--size", type=int, default=512, help="side of the images in pixels")
    parser.add_argument("--batch", type=int, default=2, help="images per step")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    runtime = Runtime(torch.device(options.device), "fp32")
    rows = [measure(preset, options, runtime) for preset in options.presets]
    save_results(options.out, ["torch"], {"rows": rows, "batch": options.batch}, threads=options.threads)


if __name__ == "__main__":
    main()
