"""Compares the executions of a training step in memory and time with the plain step.

    python -m benchmarks.speed.execution [time] [resident] [estimate] [--out FILE.json]

time: CPU seconds and FLOPs of a real step on the CPU, as ratios to plain autograd.
resident: peak resident size of a fresh process over its size with torch imported. The pixels of a streamed step are
made a handful at a time.
estimate: bytes on the device, from the step run on tensors without memory (`fitcli/memory/fake_step.py`) plus the
weights and the two moments of AdamW. Tokens at rest and the pixels of a streamed step count as bytes on the host.
"""

from __future__ import annotations

import argparse
import statistics
import time
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.support.machine import save_results
from benchmarks.support.processes import resident_bytes, run_python
from fitcli.device.runtime import return_freed_memory
from fitcli.execution.job import Job
from fitcli.execution.plan import ExecutionPlan
from fitcli.execution.run import run_job
from fitcli.memory.estimate import Training, estimate_step, parameter_count
from fitcli.tasks.classify.task import TASK as CLASSIFY
from models.build import build
from models.config import ClassifierConfig
from models.groups import Groups
from models.presets import classifier_preset

MODULE = "benchmarks.speed.execution"

GIB = 2**30

TIMED = {
    "plain": ExecutionPlan(),
    "layers": ExecutionPlan(kind="layers"),
    "recompute, global checkpointed": ExecutionPlan(kind="recompute", global_layers="checkpoint"),
    "recompute, global attention kept": ExecutionPlan(kind="recompute", global_layers="attention"),
    "recompute, global kept": ExecutionPlan(kind="recompute"),
    "recompute, half kept": ExecutionPlan(kind="recompute", keep=0.5),
    "recompute, all selective": ExecutionPlan(kind="recompute", keep=1, selective=True, global_layers="selective"),
    "stream": ExecutionPlan(kind="stream", global_layers="checkpoint"),
    "stream, global kept": ExecutionPlan(kind="stream"),
}
RESIDENT = {
    "plain": ExecutionPlan(),
    "recompute": ExecutionPlan(kind="recompute", global_layers="checkpoint"),
    "stream": ExecutionPlan(kind="stream", global_layers="checkpoint", store="host"),
    "stream to disk": ExecutionPlan(kind="stream", global_layers="checkpoint", store="disk"),
}


def recompute(keep: float = 0, selective: bool = True, layers: Any = "selective", handful: int = 25) -> ExecutionPlan:
    return ExecutionPlan(kind="recompute", handful=handful, keep=keep, selective=selective, global_layers=layers)


def stream(handful: int, layers: Any = "checkpoint") -> ExecutionPlan:
    return ExecutionPlan(kind="stream", handful=handful, global_layers=layers)


def sized(token_width: int, latent_width: int, group: int = 16, latents: int = 16) -> ClassifierConfig:
    """Return a config with heads of width 64, layer plan "(2)4(2)4(2)4" and patches of 16 x 16 pixels."""
    return ClassifierConfig(
        plan="(2)4(2)4(2)4", tokens=group**2, latents=latents, token_width=token_width, latent_width=latent_width,
        token_heads=token_width // 64, latent_heads=latent_width // 64, patch=16, channels=3, classes=100,
    )  # fmt: skip


def estimated_cases() -> list[tuple[str, ClassifierConfig, int, ExecutionPlan]]:
    """Return (name of the model, its config, side of the image, plan) of every estimate."""
    base, small, large = classifier_preset("base", 3, 100), sized(384, 512), sized(768, 1024)
    rows = [
        ("base", base, 6400, ExecutionPlan()),
        ("base", base, 6400, ExecutionPlan(kind="layers")),
        ("base", base, 6400, recompute(layers="checkpoint")),
        ("base", base, 6400, recompute(layers="attention")),
        ("base", base, 6400, recompute(layers="keep")),
        ("base", base, 6400, stream(25)),
    ]
    for name, config in (("53 M", small), ("209 M", large)):
        rows.append((name, config, 6400, ExecutionPlan()))
        rows += [(name, config, 6400, recompute(keep)) for keep in (1, 0.75, 0.5, 0.25, 0)]
        rows += [(name, config, 6400, recompute(layers=layers)) for layers in ("attention", "checkpoint")]
    rows.append(("209 M, m=4", sized(768, 1024, latents=4), 25_600, stream(25)))
    rows.append(("209 M, m=4", sized(768, 1024, latents=4), 25_600, stream(25, "rerun")))
    rows.append(("53 M, n=1024, m=4", sized(384, 512, 32, 4), 102_400, stream(32)))
    rows.append(("53 M, n=1024, m=4", sized(384, 512, 32, 4), 102_400, stream(32, "rerun")))
    return rows


def groups_for(config: ClassifierConfig, size: int) -> Groups:
    side = size // (config.patch * config.group)
    return Groups.of_grid(images=1, rows=side, columns=side)


def step_job(model: Any, groups: Groups, host: bool = False) -> Job:
    """Return a step on black pixels; with `host` the pixels are made a handful at a time."""
    shape, dtype, _ = CLASSIFY.step_input(model.config)
    pixels = None if host else torch.zeros(len(groups.number), *shape, dtype=dtype)

    def read(part: slice) -> Tensor:
        return torch.zeros(part.stop - part.start, *shape, dtype=dtype) if pixels is None else pixels[part]

    return CLASSIFY.sample_step(model, groups, read, ExecutionPlan())


def estimate(config: ClassifierConfig, size: int, plan: ExecutionPlan) -> dict[str, Any]:
    """Return the bytes and FLOPs of a step in bf16 autocast, as estimated."""
    side = size // (config.patch * config.group)
    estimate = estimate_step(Training(task=CLASSIFY, config=config, groups=side**2, precision="bf16"), plan)
    count = parameter_count(config)
    return {
        "parameters": count,
        "total_gib": estimate.peak_bytes / GIB,
        "activations_gib": (estimate.peak_bytes - 16 * count) / GIB,
        "host_gib": (estimate.away_bytes + (size**2 * 3 if plan.kind == "stream" else 0)) / GIB,
        "flops": estimate.total_flops,
    }


def measure_time(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Time all executions in turn, so that other jobs on the machine disturb all alike."""
    config = classifier_preset(options.preset, 3, 10)
    model, groups = build(config), groups_for(config, options.size)
    job, rows = step_job(model, groups), []
    seconds: dict[str, list[float]] = {name: [] for name in TIMED}
    for _ in range(options.repeats + 1):
        for name, plan in TIMED.items():
            model.zero_grad(set_to_none=True)
            began = time.process_time()
            with torch.autocast("cpu", torch.bfloat16) if options.bf16 else nullcontext():
                run_job(job, plan)
            seconds[name].append(time.process_time() - began)
    plain = seconds["plain"][1:]
    flops = {name: count_flops(model, groups, plan) for name, plan in TIMED.items()}
    for name, plan in TIMED.items():
        ratios = [own / other for own, other in zip(seconds[name][1:], plain, strict=True)]
        best = min(seconds[name][1:])
        row: dict[str, Any] = {"name": name, "plan": asdict(plan), "seconds": best}
        row |= {"time_ratio": statistics.median(ratios), "time_ratio_best": best / min(plain)}
        row["flops_ratio"] = flops[name] / flops["plain"]
        rows.append(row)
        print(f"{name:32} {row['seconds']:9.2f} {row['time_ratio']:9.3f} {row['time_ratio_best']:9.3f} "
              f"{row['flops_ratio']:9.3f}", flush=True)  # fmt: skip
    return rows


def count_flops(model: Any, groups: Groups, plan: ExecutionPlan) -> int:
    """Return the FLOPs of one step."""
    work = Training(task=CLASSIFY, config=model.config, groups=len(groups.number))
    return estimate_step(work, plan).total_flops


def child(preset: str, size: int, name: str) -> None:
    """In a fresh process: run one step and print the growth of the resident size in bytes."""
    torch.set_num_threads(1)
    return_freed_memory()
    before = resident_bytes("VmRSS")
    config = classifier_preset(preset, 3, 10)
    run_job(step_job(build(config), groups_for(config, size), RESIDENT[name].kind == "stream"), RESIDENT[name])
    print(resident_bytes("VmHWM") - before)


def measure_resident(options: argparse.Namespace) -> list[dict[str, Any]]:
    rows = []
    for size in options.resident_sizes:
        for name in options.resident:
            grown = int(run_python("-m", MODULE, "--child", options.preset, str(size), name))
            rows.append({"size": size, "name": name, "megabytes": grown / 1e6})
            print(f"{size:6} {name:20} {grown / 1e6:9.0f} MB", flush=True)
    return rows


def measure_estimates() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    plain = {}
    for name, config, size, plan in estimated_cases():
        began = time.perf_counter()
        row: dict[str, Any] = {"model": name, "size": size, "plan": asdict(plan)} | estimate(config, size, plan)
        if plan.kind == "plain":
            plain[name] = row["flops"]
        row["flops_ratio"] = row["flops"] / plain[name] if name in plain else None
        row["seconds_to_estimate"] = time.perf_counter() - began
        rows.append(row)
        ratio = "" if row["flops_ratio"] is None else f"{row['flops_ratio']:.3f}"
        text = f"{plan.kind}, keep {plan.keep:g}, global {plan.global_layers}"
        print(f"{name:18} {size:6} {text:36} {row['total_gib']:8.2f} {row['activations_gib']:8.2f} "
              f"{row['host_gib']:8.2f} {ratio:>7}  ({row['seconds_to_estimate']:.0f} s)", flush=True)  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["time", "resident", "estimate"])
    parser.add_argument("--preset", default="tiny", help="preset of the real steps")
    parser.add_argument("--size", type=int, default=2048, help="side of the image of the timed steps, in pixels")
    parser.add_argument("--bf16", action="store_true", help="time in bf16 autocast")
    parser.add_argument("--resident", nargs="+", default=list(RESIDENT), choices=RESIDENT, help="executions to measure")
    parser.add_argument("--resident-sizes", type=int, nargs="+", default=[2048, 4096], help="sides of images")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.child:
        preset, size, name = options.child
        return child(preset, int(size), name)
    results: dict[str, Any] = {"preset": options.preset}
    if "time" in options.parts:
        print(f"{'':32} {'seconds':>9} {'median x':>9} {'best x':>9} {'FLOPs x':>9}")
        results["time"] = measure_time(options)
    if "resident" in options.parts:
        results["resident"] = measure_resident(options)
    if "estimate" in options.parts:
        print(f"{'':62} {'total':>8} {'activ.':>8} {'host':>8} {'FLOPs x':>7}")
        results["estimate"] = measure_estimates()
    save_results(options.out, ["torch"], results, threads=torch.get_num_threads())


if __name__ == "__main__":
    main()
