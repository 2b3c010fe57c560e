"""Compares a CUDA device with and without pixels copied ahead, and with and without CUDA graphs.

    python -m benchmarks.speed.device --out benchmarks/results/device-gpu.json

pixels: milliseconds per forward and backward pass of a classifier over images on the host: from unpinned memory, from
pinned memory, and from pinned memory copied during the pass before. The loss is read once per pass, as in training.
graphs: milliseconds per value of a batch of sequences drawn value by value: without graphs, and with graphs, recording
included.

`--device cpu` only shows that the benchmark runs: nothing is copied there, and there are no graphs.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.support.machine import save_results
from fitcli.data.batch import Arrivals, Batch
from fitcli.device.runtime import Runtime, choose_runtime
from fitcli.execution.plan import ExecutionPlan
from fitcli.execution.run import run_job
from fitcli.tasks.autoregressive.decoding.sample import sample
from fitcli.tasks.autoregressive.decoding.token_sampling import Draws
from fitcli.tasks.class_targets import ClassLabels
from fitcli.tasks.classify.task import TASK as CLASSIFY
from models.build import build
from models.groups import Groups
from models.presets import classifier_preset, decoder_preset

LEVELS, SEQUENCES, SIDE = 256, 16, 4
"""Sequences: levels of a value, sequences drawn together, groups per side."""


def batches(preset: str, size: int, count: int) -> list[Batch]:
    """Return batches of one image each, in host memory as a loader reads them."""
    config = classifier_preset(preset, 3, 100)
    side = size // (config.patch * config.group)
    shape, dtype, values = CLASSIFY.step_input(config)
    return [
        Batch(
            patches=torch.randint(values, (side**2, *shape), dtype=dtype),
            groups=Groups.of_grid(images=1, rows=side, columns=side),
            target=ClassLabels(torch.zeros(1, dtype=torch.int64)),
            gain=torch.ones(side**2, 1, 1),
            shift=torch.zeros(side**2, 1, 1),
        )
        for _ in range(count)
    ]


def pixels(preset: str, size: int, passes: int, runtime: Runtime) -> dict[str, Any]:
    """Return the median milliseconds per pass of each way; the ways take turns."""
    model = build(classifier_preset(preset, 3, 100), seed=0).to(runtime.device)
    plain = batches(preset, size, 3)
    pinned = [batch.pinned(runtime.device) for batch in plain]
    alone, ahead = Arrivals(runtime.device, ahead=False), Arrivals(runtime.device, ahead=True)

    def as_it_comes(batch: Batch, following: Batch) -> float:
        # `Batch.to` pins the pixels; without pinning the copy is left to the driver.
        sent = batch.patches.to(runtime.device, non_blocking=True)
        rest = replace(batch, patches=batch.patches[:0]).to(runtime.device)
        return step(replace(rest, patches=sent), lambda: None)

    def arriving(arrivals: Arrivals) -> Callable[[Batch, Batch], float]:
        return lambda batch, following: step(arrivals.bring(batch, pixels=True), lambda: arrivals.begin(following))

    def step(batch: Batch, then: Callable[[], None]) -> float:
        model.zero_grad(set_to_none=True)
        job = CLASSIFY.sample_step(model, batch.groups, lambda part: batch.patches[part], ExecutionPlan())
        with runtime.autocast():
            outcome = run_job(job, ExecutionPlan())
        then()
        return outcome.loss.item()

    ways = {"not pinned": (as_it_comes, plain), "pinned": (arriving(alone), pinned), "ahead": (arriving(ahead), pinned)}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(3):
        for name, (way, given) in ways.items():
            for number in range(passes + 1):
                began = time.perf_counter()
                way(given[number % 3], given[(number + 1) % 3])
                if number:
                    seconds[name].append(time.perf_counter() - began)
    milliseconds = {name: 1000 * statistics.median(values) for name, values in seconds.items()}
    speed = {name: milliseconds["not pinned"] / milliseconds[name] for name in ("pinned", "ahead")}
    return {"preset": preset, "size": size, "milliseconds": milliseconds, "times as fast": speed}


def graphs(preset: str, groups: int, runtime: Runtime) -> dict[str, Any]:
    """Draw sequences of `groups` x `groups` groups without and with graphs, and compare their values."""
    config, _ = decoder_preset(preset, 3, 0, LEVELS, 1)
    model = build(config, seed=0).eval().requires_grad_(False).to(runtime.device)
    grid, milliseconds, drawn = Groups.of_grid(1, groups, groups), dict[str, float](), []
    values = groups**2 * config.tokens
    for name in ("eager", "graphs"):
        on = name == "graphs" and runtime.device.type == "cuda"
        # The first call initialises kernels and caches.
        sample(model, Groups.of_grid(1, 1, 2), [LEVELS] * SEQUENCES, Draws())
        runtime.synchronize()
        began = time.perf_counter()
        drawn.append(sample(model, grid, [LEVELS] * SEQUENCES, Draws(), graphs=on).cpu())
        milliseconds[name] = 1000 * (time.perf_counter() - began) / values
    same = torch.equal(*drawn)
    speed = milliseconds["eager"] / milliseconds["graphs"]
    return {"preset": preset, "values": values, "milliseconds": milliseconds, "times as fast": speed, "same": same}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument(
        "--pixels",
        nargs="*",
        default=["tiny:2048", "small:2048", "base:2048"],
        metavar="PRESET:SIZE",
        help="cases",
    )
    parser.add_argument("--graphs", nargs="*", default=["tiny", "small"], metavar="PRESET", help="models to draw with")
    parser.add_argument("--passes", type=int, default=8, help="passes per turn")
    parser.add_argument("--groups", type=int, default=SIDE, help="groups per side of a sequence")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    options = parser.parse_args()
    runtime, rows = choose_runtime(options.device), list[dict[str, Any]]()
    exact = Runtime(runtime.device, "fp32")
    jobs: list[Callable[[], dict[str, Any]]] = [
        *(lambda preset=name: graphs(preset, options.groups, exact) for name in options.graphs),
        *(
            lambda preset=preset, size=size: pixels(preset, int(size), options.passes, runtime)
            for preset, size in (case.split(":") for case in options.pixels)
        ),
    ]
    for job in jobs:
        rows.append(job())
        print(rows[-1], flush=True)
        if options.out is not None:
            gpu = torch.cuda.get_device_name() if runtime.device.type == "cuda" else None
            save_results(options.out, ["torch"], {"rows": rows}, gpu=gpu)


if __name__ == "__main__":
    main()
