"""Compares a classifier on images of any size with one on an image of whole groups: what do the edges cost?

    python -m benchmarks.speed.edges [--preset tiny] [--sizes 2048 2049 2040] [--out FILE.json]

forward: the streamed pass of `fit classify` over pixels in memory. step: a plain training step without the optimizer.
All sizes take turns, and the least of `--repeats` rounds counts: on a CPU the CPU time of the process divided by its
threads, on a GPU wall time. `times` divides by the first size; `per_patch` divides by the real patches of both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from benchmarks.speed.compiled import seconds
from benchmarks.support.classifier_job import classifier_job, job_options
from benchmarks.support.machine import save_results
from fitcli.device.runtime import Runtime
from fitcli.execution.plan import ExecutionPlan
from fitcli.memory.handfuls import usual_handful
from fitcli.memory.samples import SampleImage
from fitcli.streaming.sweeps import Streaming
from fitcli.tasks.encoding.sample_pass import ENCODING
from models.presets import classifier_preset

WORKS = ("forward", "step")


def job_of(work: str, preset: str, size: int, runtime: Runtime) -> Callable[[], object]:
    """Return a function that runs one pass or step over an image of `size` pixels per side."""
    if work == "step":
        return classifier_job(preset, size, runtime, ExecutionPlan())[0]
    _, model, groups = classifier_job(preset, size, runtime, None)
    one = ENCODING.step_input(model.config)
    pixels = torch.randint(one.values, (len(groups.number), *one.shape), dtype=one.dtype)
    image = SampleImage(groups.to(torch.device("cpu")), pixels, runtime.device)
    how = Streaming(handful=usual_handful(model.config, "pass", runtime.device.type), store="host")

    def forward() -> None:
        with torch.inference_mode(), runtime.autocast():
            ENCODING.sample_pass(model, image, how)

    return forward


def measure(preset: str, sizes: list[int], device: str, work: str, repeats: int) -> list[dict[str, Any]]:
    runtime = Runtime(torch.device(device), "fp32")
    jobs = {size: job_of(work, preset, size, runtime) for size in sizes}
    taken: dict[int, list[float]] = {size: [] for size in sizes}
    for _ in range(repeats + 1):
        for size, job in jobs.items():
            taken[size].append(seconds(job, runtime))
    # The first round warms up.
    least = {size: min(each[1:]) for size, each in taken.items()}
    patch, first = classifier_preset(preset, 3, 10).patch, sizes[0]
    patches = {size: (-(-size // patch)) ** 2 for size in sizes}
    rows = []
    for size in sizes:
        times = least[size] / least[first]
        per_patch = times * patches[first] / patches[size]
        row = {"preset": preset, "work": work, "size": size, "patches": patches[size], "seconds": least[size]}
        rows.append(row | {"times": times, "per_patch": per_patch})
        print(
            f"{preset:6} {work:8} {size:6} {least[size]:8.3f} s, {times:.3f} times, {per_patch:.3f} per patch",
            flush=True,
        )
    return rows


def main() -> None:
    parser = job_options(__doc__, WORKS)
    parser.add_argument("--sizes", type=int, nargs="+", default=[2048, 2049], help="sides of the images in pixels")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = [
        row
        for work in options.works
        for row in measure(options.preset, options.sizes, options.device, work, options.repeats)
    ]
    save_results(options.out, ["torch"], {"rows": rows}, threads=options.threads)


if __name__ == "__main__":
    main()
