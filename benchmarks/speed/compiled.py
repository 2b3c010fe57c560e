"""Compares passes and training steps with compiled layers (`--compile`) with eager ones.

    python -m benchmarks.speed.compiled [--device cpu] [--preset tiny] [--size 1024] [--out FILE.json]

forward: the classifier over pixels in memory, as `fit classify` prepares it. plain, recompute: a training step without
the optimizer. Both ways take turns, and the median of `--repeats` rounds counts: on a CPU the CPU time of the process
divided by its threads, on a GPU wall time. `first` is the wall time of the first compiled call, with empty caches.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.support.classifier_job import classifier_job, job_options
from benchmarks.support.machine import save_results
from fitcli.device.runtime import Precision, Runtime
from fitcli.execution.plan import ExecutionPlan

PLANS = {
    "forward": None,
    "plain": ExecutionPlan(),
    "recompute": ExecutionPlan(kind="recompute", global_layers="checkpoint"),
}


def seconds(job: Callable[[], object], runtime: Runtime) -> float:
    """Return CPU seconds per thread of one call, or on a GPU wall seconds."""
    runtime.synchronize()
    on_cpu = runtime.device.type == "cpu"
    clock = time.process_time if on_cpu else time.perf_counter
    began = clock()
    job()
    runtime.synchronize()
    return (clock() - began) / (torch.get_num_threads() if on_cpu else 1)


def _first(job: Callable[[], object], runtime: Runtime) -> float:
    """Return the wall seconds of the first call: CPU time would leave out the compilers, which are other processes."""
    began = time.perf_counter()
    job()
    runtime.synchronize()
    return time.perf_counter() - began


def measure(preset: str, size: int, device: str, precision: Precision, work: str, repeats: int) -> dict[str, Any]:
    torch._dynamo.reset()
    ways = {way: Runtime(torch.device(device), precision, way == "compiled") for way in ("eager", "compiled")}
    jobs = {way: classifier_job(preset, size, runtime, PLANS[work])[0] for way, runtime in ways.items()}
    first = {way: _first(job, ways[way]) for way, job in jobs.items()}
    taken: dict[str, list[float]] = {way: [] for way in jobs}
    for _ in range(repeats):
        for way, job in jobs.items():
            taken[way].append(seconds(job, ways[way]))
    eager, compiled = (statistics.median(taken[way]) for way in ("eager", "compiled"))
    row = {"preset": preset, "size": size, "precision": precision, "work": work, "eager": eager, "compiled": compiled}
    return row | {"gain": eager / compiled, "first": first["compiled"]}


def main() -> None:
    parser = job_options(__doc__, PLANS)
    parser.add_argument("--size", type=int, default=1024, help="side of the image in pixels")
    parser.add_argument("--precisions", nargs="+", choices=["fp32", "bf16"], default=["fp32", "bf16"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
        for precision in options.precisions:
            for work in options.works:
                row = measure(options.preset, options.size, options.device, precision, work, options.repeats)
                rows.append(row)
                print(
                    f"{row['preset']:6} {precision} {work:10} eager {row['eager']:8.3f} s, compiled "
                    f"{row['compiled']:8.3f} s: {row['gain']:.2f} x the speed; first {row['first']:.0f} s",
                    flush=True,
                )
                save_results(options.out, ["torch"], {"rows": rows}, threads=options.threads)


if __name__ == "__main__":
    main()
