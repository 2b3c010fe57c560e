"""What two things are worth on a CUDA device, with and without in one run: pixels that travel ahead, and CUDA graphs.

    python -m benchmarks.speed.device --out benchmarks/results/device-gpu.json

pixels: the forward and backward passes of a classifier over images that come from the host, milliseconds per pass: from
memory that is not pinned, from pinned memory, and from pinned memory beside the pass before. The results are read once
per pass, as in training.
graphs: a batch of sequences, value by value, milliseconds per value: without and with graphs, recording them included.

With `--device cpu` it runs as well, and says nothing but that it runs: nothing travels there, and there are no graphs.
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
from fitcli.memory.sample_job import sample_job, waiting_shape
from fitcli.tasks.autoregressive.decoding.sample import sample
from fitcli.tasks.autoregressive.decoding.token_sampling import Draws
from models.build import build
from models.groups import Groups
from models.presets import classifier_preset, decoder_preset

LEVELS, SEQUENCES, SIDE = 256, 16, 4
"""Of the sequences: levels of a value, how many are drawn together, groups per side."""


def batches(preset: str, size: int, count: int) -> list[Batch]:
    """One image each, in host memory as a loader reads it."""
    config = classifier_preset(preset, 3, 100)
    side = size // (config.patch * config.group)
    shape, dtype = waiting_shape(config)
    return [
        Batch(
            patches=torch.randint(0, 256, (side**2, *shape), dtype=dtype),
            groups=Groups.of_grid(images=1, rows=side, columns=side),
            labels=torch.zeros(1, dtype=torch.int64),
            gain=torch.ones(side**2, 1, 1),
            shift=torch.zeros(side**2, 1, 1),
        )
        for _ in range(count)
    ]


def pixels(preset: str, size: int, passes: int, runtime: Runtime) -> dict[str, Any]:
    """Medians; the ways take turns."""
    model = build(classifier_preset(preset, 3, 100), seed=0).to(runtime.device)
    plain = batches(preset, size, 3)
    pinned = [batch.pinned(runtime.device) for batch in plain]
    alone, ahead = Arrivals(runtime.device, ahead=False), Arrivals(runtime.device, ahead=True)

    def as_it_comes(batch: Batch, following: Batch) -> float:
        # What the driver makes of it: neither pinned here nor before.
        moved = batch.patches.to(runtime.device, non_blocking=True)
        rest = replace(batch, patches=batch.patches[:0]).to(runtime.device)
        return step(replace(rest, patches=moved), lambda: None)

    def arriving(arrivals: Arrivals) -> Callable[[Batch, Batch], float]:
        return lambda batch, following: step(arrivals.bring(batch, pixels=True), lambda: arrivals.begin(following))

    def step(batch: Batch, then: Callable[[], None]) -> float:
        model.zero_grad(set_to_none=True)
        with runtime.autocast():
            outcome = run_job(sample_job(model, batch.groups, lambda part: batch.patches[part]), ExecutionPlan())
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
    found = {name: 1000 * statistics.median(values) for name, values in seconds.items()}
    speed = {name: found["not pinned"] / found[name] for name in ("pinned", "ahead")}
    return {"preset": preset, "size": size, "milliseconds": found, "times as fast": speed}


def graphs(preset: str, groups: int, runtime: Runtime) -> dict[str, Any]:
    """Sequences of so many groups per side, the same with and without."""
    config, _ = decoder_preset(preset, 3, 0, LEVELS, 1)
    model = build(config, seed=0).eval().requires_grad_(False).to(runtime.device)
    there, found, drawn = Groups.of_grid(1, groups, groups), dict[str, float](), []
    values = groups**2 * config.tokens
    for name in ("eager", "graphs"):
        on = name == "graphs" and runtime.device.type == "cuda"
        # Once before, for what is only done once.
        sample(model, Groups.of_grid(1, 1, 2), [LEVELS] * SEQUENCES, Draws())
        runtime.synchronize()
        began = time.perf_counter()
        drawn.append(sample(model, there, [LEVELS] * SEQUENCES, Draws(), graphs=on).cpu())
        found[name] = 1000 * (time.perf_counter() - began) / values
    same = torch.equal(*drawn)
    speed = found["eager"] / found["graphs"]
    return {"preset": preset, "values": values, "milliseconds": found, "times as fast": speed, "same": same}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--pixels", nargs="*", default=["tiny:2048", "small:2048", "base:2048"], metavar="PRESET:SIZE")
    parser.add_argument("--graphs", nargs="*", default=["tiny", "small"], metavar="PRESET")
    parser.add_argument("--passes", type=int, default=8)
    parser.add_argument("--groups", type=int, default=SIDE, help="per side of a sequence")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    options = parser.parse_args()
    runtime, rows = choose_runtime(options.device), list[dict[str, Any]]()
    exact = Runtime(runtime.device, "fp32")
    jobs: list[Callable[[], dict[str, Any]]] = [
        *(lambda preset=name: graphs(preset, options.groups, exact) for name in options.graphs),
        *(
            lambda preset=preset, size=size: pixels(preset, int(size), options.passes, runtime)
            for preset, size in (words.split(":") for words in options.pixels)
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
