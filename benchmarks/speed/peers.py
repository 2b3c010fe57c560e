"""Compares FIT with other models: time and peak memory of a step over one large image.

    python -m benchmarks.speed.peers [--models fit-small vit-s ...] [--sizes 1024 2048] [--out FILE.json]

Every figure is from a fresh process. The models take turns for `--repeats` rounds, and the median counts. A process
repeats the step until `--seconds` have passed, at most four times; the first counts only if there is no other. On a
CPU, time is CPU time of the process divided by its threads, which other jobs disturb less (wall time with `--wall`).
Memory is the peak resident size over that of the libraries alone; on a GPU it is the peak of the allocated bytes. A
step that takes longer than `--limit` seconds, or a process that needs more than `--gib`, is recorded as failed.

FIT gets patches as its loader cuts them; the others get images. All have about as many parameters as a ViT-S (22 M),
except fit-tiny, which is smaller, and fit-base. RIN and Perceiver have 256 latents for the whole image, and only the
layers that read and write work on patches. Perceiver computes its attention scores explicitly; all others use
`scaled_dot_product_attention`.

With `--out`, rows are added to those in the file, so that you can run the comparison in pieces.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.support.machine import save_results
from benchmarks.support.peer_steps import MODELS
from benchmarks.support.processes import resident_bytes

MODULE = "benchmarks.speed.peers"

KEY = ("model", "size", "work", "checkpointed", "device", "precision")
WORK = ("forward", "step")


def measure_here(case: dict[str, Any]) -> dict[str, Any]:
    """In a fresh process: run the steps of one case."""
    import torch

    from benchmarks.support.peer_steps import build_step

    torch.set_num_threads(case["threads"])
    torch.manual_seed(0)
    on_cpu = case["device"] == "cpu"
    if on_cpu:
        limit = case["gib"] << 30
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    step, parameters, tokens = build_step(case)
    before, seconds = resident_bytes("VmRSS") - 4 * parameters, list[float]()

    def now() -> float:
        if on_cpu and not case["wall"]:
            return time.process_time() / int(case["threads"])
        if not on_cpu:
            torch.cuda.synchronize()
        return time.perf_counter()

    while len(seconds) < 4 and sum(seconds) < case["seconds"]:
        began = now()
        step()
        seconds.append(now() - began)
    peak = resident_bytes("VmHWM") - before if on_cpu else torch.cuda.max_memory_allocated()
    return {"seconds": seconds[1:] or seconds, "peak_bytes": peak, "parameters": parameters, "tokens": tokens}


def measure(case: dict[str, Any]) -> dict[str, Any]:
    """Measure one case in a fresh process; `failed` gives the reason if there are no figures."""
    command = [sys.executable, "-m", MODULE, "--child", json.dumps(case)]
    try:
        # The limit allows for two steps and the start of the process.
        done = subprocess.run(command, capture_output=True, text=True, timeout=2 * case["limit"] + 30)
    except subprocess.TimeoutExpired:
        return {"failed": f"more than {case['limit']} s per step"}
    if done.returncode == 0:
        figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return figures
    reason = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"ended by signal {-done.returncode}"
    memory = any(word in done.stderr for word in ("can't allocate memory", "out of memory", "MemoryError", "bad_alloc"))
    return {"failed": f"out of memory ({case['gib']} GiB)" if memory else reason[:200]}


def all_cases(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return every case, the smallest images first."""
    common = {
        name: getattr(options, name) for name in ("device", "precision", "threads", "seconds", "limit", "gib", "wall")
    }
    cases = itertools.product(options.sizes, options.work, options.models, (False, True))
    return [
        {"model": model, "size": size, "work": work, "checkpointed": checkpointed, **common}
        for size, work, model, checkpointed in cases
        if checkpointed in options.checkpointed
        and not (checkpointed and (work == "forward" or not MODELS[model].can_checkpoint))
    ]


def campaign(options: argparse.Namespace) -> None:
    """Run rounds over all cases, and save after every case. A model that fails is not tried again on larger images."""
    cases = all_cases(options)
    results: dict[int, list[dict[str, Any]]] = {number: [] for number in range(len(cases))}
    for _ in range(options.repeats):
        failed: set[tuple[Any, ...]] = set()
        for number, case in enumerate(cases):
            kind = (case["model"], case["work"], case["checkpointed"])
            if kind in failed or any("failed" in one for one in results[number]):
                failed.add(kind)
                continue
            results[number].append(measure(case))
            if "failed" in results[number][-1]:
                failed.add(kind)
            row = {name: case[name] for name in (*KEY, "threads")} | summary(results[number])
            show(row)
            if options.out:
                save_row(options.out, row)


def save_row(out: Path, row: dict[str, Any]) -> None:
    """Save a row beside those of earlier runs."""
    rows = merge(out, [row])
    packages = ["torch", "timm", "rin-pytorch", "perceiver-pytorch"]
    save_results(out, packages, {"exponents": exponents(rows), "rows": rows})


def summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the medians over several processes."""
    good = [result for result in results if "failed" not in result]
    if len(good) < len(results):
        return {"failed": next(result["failed"] for result in results if "failed" in result)}
    seconds = [statistics.median(result["seconds"]) for result in good]
    return {
        "seconds": statistics.median(seconds),
        "all_seconds": seconds,
        "peak_bytes": statistics.median(result["peak_bytes"] for result in good),
        "parameters": good[0]["parameters"],
        "tokens": good[0]["tokens"],
    }


def show(row: dict[str, Any]) -> None:
    how = "checkpointed" if row["checkpointed"] else ""
    if "failed" in row:
        text = row["failed"]
    else:
        text = (
            f"{row['seconds']:9.2f} s {row['peak_bytes'] / 2**20:8.0f} MiB {row['parameters'] / 1e6:6.1f} M parameters"
        )
    print(f"{row['size']:5} {row['work']:8} {row['model']:10} {how:12} {text}", flush=True)


def exponents(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return, from each size to the next, the power of the number of pixels with which time grows."""
    powers = []
    chosen = sorted((row for row in rows if "failed" not in row), key=lambda row: row["size"])
    for case in dict.fromkeys(tuple(row[name] for name in KEY if name != "size") for row in chosen):
        same = [row for row in chosen if tuple(row[name] for name in KEY if name != "size") == case]
        for small, large in itertools.pairwise(same):
            power = math.log(large["seconds"] / small["seconds"]) / (2 * math.log(large["size"] / small["size"]))
            between = {"from": small["size"], "to": large["size"], "exponent": power}
            powers.append(dict(zip([name for name in KEY if name != "size"], case, strict=True)) | between)
    return powers


def merge(out: Path, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the new rows, and those of earlier runs that were not measured again."""
    new = {tuple(row[name] for name in KEY) for row in rows}
    old = json.loads(out.read_text(encoding="utf-8"))["rows"] if out.exists() else []
    both = [row for row in old if tuple(row[name] for name in KEY) not in new] + rows
    return sorted(both, key=lambda row: (row["device"], row["size"], row["work"], row["model"], row["checkpointed"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    usual = ["fit-tiny", "fit-small", "vit-s", "swin-t", "rin", "perceiver"]
    parser.add_argument("--models", nargs="+", choices=MODELS, default=usual)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1024, 2048, 4096, 6400], help="sides in pixels")
    parser.add_argument("--work", nargs="+", choices=WORK, default=list(WORK), help="step: forward and backward")
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--no-checkpointing", action="store_const", dest="checkpointed", const=[False])
    ways.add_argument("--only-checkpointed", action="store_const", dest="checkpointed", const=[True])
    parser.set_defaults(checkpointed=[False, True])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--seconds", type=float, default=5, help="seconds after which a process stops repeating the step"
    )
    parser.add_argument("--limit", type=int, default=60, help="most seconds that a step may take")
    parser.add_argument("--gib", type=int, default=12, help="most memory of a process on a CPU")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--wall", action="store_true", help="measure wall time on a CPU too")
    parser.add_argument("--out", type=Path, help="JSON file for the results; other rows in it are kept")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure_here(json.loads(options.child))))
        return
    campaign(options)


if __name__ == "__main__":
    main()
