"""Runs the GPU half of the benchmarks and the tests marked `gpu` in one call of at most nine minutes.

    python -m benchmarks.gpu --out benchmarks/results/gpu.json [--minutes 9] [--parts kernels training]

Parts run one after the other, the most important first. Each has a share of the time. A part that exceeds its share is
stopped, and its results so far are kept. If a part fails, the end of its output is recorded and the next part runs.

sync: counts the operations of a training step over pixels on the device that make the host wait for it. There should be
none; a test checks that a whole step of `fit train`, with its transfers, waits once.
kernels: the kernels that attention runs in, in bf16, eager and compiled, and whether they are fused (speed/kernels.py).
tests: `pytest -m gpu`.
device: with and without pixels copied ahead, and with and without CUDA graphs (speed/device.py).
training: steps over 6400 x 6400 pixels, plain and recomputing. Its fraction is the FLOP/s of the model, without
recomputed operations, over the measured rate of a large product.
roofline: forward passes of the presets in bf16 against products of the same shapes (speed/roofline.py).
training compiled, roofline compiled: the same with compiled layers.
peers: FIT, ViT and Swin at the sizes of speed/peers.py.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.support.machine import save_results

SHARES = {
    "sync": 25, "kernels": 30, "tests": 115, "device": 40, "training": 65, "roofline": 55, "training compiled": 70,
    "roofline compiled": 50, "peers": 90,
}  # fmt: skip
"""Seconds of each part, of nine minutes in all."""

SIDE = 6400
"""Pixels per side of the image of a training step."""


def benchmark(module: str, arguments: list[str], seconds: float, out: Path) -> dict[str, Any]:
    """Run a benchmark in a fresh process; its results are kept even if it is stopped."""
    report = run([sys.executable, "-m", module, *arguments, "--out", str(out)], seconds)
    if out.exists():
        report["result"] = json.loads(out.read_text(encoding="utf-8"))
    return report


def run(command: list[str], seconds: float) -> dict[str, Any]:
    """Run a process; return its exit code, None if it was stopped, its seconds and its last lines."""
    began = time.perf_counter()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
        code, output = done.returncode, done.stdout + done.stderr
    except subprocess.TimeoutExpired as stopped:
        code, output = None, "".join(_text(part) for part in (stopped.stdout, stopped.stderr))
    return {"code": code, "seconds": time.perf_counter() - began, "said": output.splitlines()[-60:]}


def _text(part: str | bytes | None) -> str:
    return part.decode(errors="replace") if isinstance(part, bytes) else part or ""


def tests(seconds: float, folder: Path) -> dict[str, Any]:
    return run([sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-rA", "--timeout=60", "tests"], seconds)


def roofline(seconds: float, folder: Path, more: tuple[str, ...] = ("--profile",)) -> dict[str, Any]:
    arguments = [
        "--device",
        "cuda",
        "--wall",
        "--precisions",
        "bf16",
        "--presets",
        "base",
        "small",
        "--size",
        str(SIDE),
    ]
    return benchmark("benchmarks.speed.roofline", [*arguments, *more], seconds, folder / "roofline.json")


def roofline_compiled(seconds: float, folder: Path) -> dict[str, Any]:
    return roofline(seconds, folder, ("--profile", "--compiled"))


def peers(seconds: float, folder: Path) -> dict[str, Any]:
    arguments = ["--device", "cuda", "--precision", "bf16", "--repeats", "1", "--seconds", "1", "--limit", "30"]
    arguments += ["--sizes", "1024", "2048", "4096", str(SIDE), "--models", "fit-base", "fit-small", "vit-s", "swin-t"]
    return benchmark("benchmarks.speed.peers", [*arguments, "vit-b"], seconds, folder / "peers.json")


def sync(seconds: float, folder: Path) -> dict[str, Any]:
    return run([sys.executable, "-m", "benchmarks.gpu", "--child", "sync"], seconds)


def kernels(seconds: float, folder: Path) -> dict[str, Any]:
    return benchmark("benchmarks.speed.kernels", ["--device", "cuda", "--compiled"], seconds, folder / "kernels.json")


def device(seconds: float, folder: Path) -> dict[str, Any]:
    return benchmark("benchmarks.speed.device", [], seconds, folder / "device.json")


def training(seconds: float, folder: Path) -> dict[str, Any]:
    return run([sys.executable, "-m", "benchmarks.gpu", "--child", "training"], seconds)


def training_compiled(seconds: float, folder: Path) -> dict[str, Any]:
    return run([sys.executable, "-m", "benchmarks.gpu", "--child", "training-compiled"], seconds)


PARTS: dict[str, Callable[[float, Path], dict[str, Any]]] = {
    "sync": sync, "kernels": kernels, "tests": tests, "device": device, "training": training, "roofline": roofline,
    "training compiled": training_compiled, "roofline compiled": roofline_compiled, "peers": peers,
}  # fmt: skip


def build_training_step(
    preset: str, side: int, kind: str, compiled: bool = False
) -> tuple[Callable[[], object], Any, int]:
    """Return (a function that runs one step in bf16 without the optimizer, the config, the number of groups)."""
    from benchmarks.support.classifier_job import classifier_job
    from fitcli.device.runtime import Runtime
    from fitcli.execution.plan import ExecutionPlan

    runtime = Runtime(torch.device("cuda"), "bf16", compiled)
    recompute = ExecutionPlan(kind="recompute", handful=25, global_layers="checkpoint")
    step, model, groups = classifier_job(preset, side, runtime, recompute if kind == "recompute" else ExecutionPlan())
    return step, model.config, len(groups.number)


def child_sync() -> None:
    """Print where a step waits for the device, by the warnings of PyTorch."""
    for kind in ("plain", "recompute"):
        step, _, _ = build_training_step("small", 1024, kind)
        step()
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("warn")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            step()
        torch.cuda.set_sync_debug_mode("default")
        places = sorted({f"{warning.filename}:{warning.lineno}" for warning in caught})
        print(json.dumps({"kind": kind, "synchronisations": len(caught), "places": places}), flush=True)


def child_training(compiled: bool = False) -> None:
    """Print the speed of training steps, one JSON line for each preset and execution."""
    from fitcli.execution.plan import ExecutionPlan
    from fitcli.memory.estimate import Training, estimate_step
    from fitcli.tasks.registry import find_task

    rate = product_rate()
    print(json.dumps({"product_tflops": rate / 1e12}), flush=True)
    for preset in ("base", "small"):
        for kind in ("plain", "recompute"):
            try:
                torch.cuda.reset_peak_memory_stats()
                step, config, groups = build_training_step(preset, SIDE, kind, compiled)
                began = time.perf_counter()
                step()
                torch.cuda.synchronize()
                first = time.perf_counter() - began
                seconds = median_seconds(step)
            except torch.OutOfMemoryError as error:
                print(json.dumps({"preset": preset, "kind": kind, "failed": str(error).splitlines()[0]}), flush=True)
                continue
            work = Training(task=find_task("classify"), config=config, groups=groups, precision="bf16")
            achieved = estimate_step(work, ExecutionPlan()).total_flops / seconds
            row = {"preset": preset, "kind": kind, "compiled": compiled, "first_step_seconds": first}
            row |= {"seconds": seconds, "tflops": achieved / 1e12}
            row |= {"fraction": achieved / rate, "peak_bytes": torch.cuda.max_memory_allocated()}
            print(json.dumps(row), flush=True)


CHILDREN: dict[str, Callable[[], None]] = {
    "sync": child_sync, "training": child_training, "training-compiled": lambda: child_training(compiled=True),
}  # fmt: skip


def product_rate() -> float:
    """Return the FLOP/s of a large product in bf16."""
    x = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    return 2 * 8192**3 / median_seconds(lambda: x @ x, 20)


def median_seconds(job: Callable[[], object], calls: int = 5) -> float:
    """Return the median of the wall seconds of some calls, after two unmeasured ones."""
    seconds = []
    for _ in range(calls + 2):
        torch.cuda.synchronize()
        began = time.perf_counter()
        job()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[2:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--minutes", type=float, default=9)
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    parser.add_argument("--child", choices=CHILDREN, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return CHILDREN[options.child]()
    if options.out is None:
        parser.error("--out is missing: give a file for the results")
    began, results = time.perf_counter(), dict[str, Any]()
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    for number, name in enumerate(options.parts):
        left = 60 * options.minutes - (time.perf_counter() - began)
        waiting = sum(SHARES[part] for part in options.parts[number:])
        folder = options.out.parent / f".{options.out.stem}-{name}"
        folder.mkdir(parents=True, exist_ok=True)
        # Parts share the time that earlier ones did not use.
        results[name] = PARTS[name](max(5.0, left * SHARES[name] / waiting), folder)
        print(f"{name}: exit code {results[name]['code']} after {results[name]['seconds']:.0f} s", flush=True)
        save_results(options.out, ["torch"], {"parts": results}, gpu=gpu)
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()


if __name__ == "__main__":
    main()
