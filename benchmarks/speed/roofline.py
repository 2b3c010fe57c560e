"""Compares a forward pass with the rate at which this machine multiplies matrices, and shows where the rest goes.

    python -m benchmarks.speed.roofline [--presets tiny small base] [--size 2048] [--threads 1] [--out FILE.json]

The pass runs over decoded pixels, a handful of groups at a time, as in `fit classify`. The benchmark records the shapes
of its matrix products. It then times a product of each shape alone, with contiguous operands in the caches, in every
way that PyTorch has; the fastest counts. Fraction: the time of all products of the pass at that rate, over the time of
the pass. Attention counts as two batches of products, without its softmax. Local layers: the same fraction for the
local layers of the first segment on one handful.

Ways: "defaults" is PyTorch as it comes (weights cast at every use, its own attention). "ours" is `fit classify`. With
`--compiled`, "compiled" is `fit classify --compile`; the seconds of compiling are recorded apart.
On a CPU, time is CPU time of the process divided by its threads, which other jobs disturb less (wall time with
`--wall`). Ways take turns, and the median of `--repeats` rounds counts.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.support.machine import save_results
from fitcli.device.processor import onednn
from fitcli.device.runtime import Precision, Runtime
from fitcli.memory.handfuls import usual_handful
from fitcli.patches.cutting import groups_of, normalize
from fitcli.patches.grid import PatchGrid
from fitcli.streaming.sweeps import PassOutputs, Streaming
from fitcli.tasks.encoding.stream import stream_encoder
from models.build import build
from models.presets import classifier_preset

Shape = tuple[int, int, int, int]
"""A batch of matrix products: batch, rows, inner, columns."""

Way = Literal["defaults", "ours", "compiled"]

WAYS: tuple[Way, ...] = ("defaults", "ours", "compiled")

SHORT = 0.02
"""Rough seconds of one measurement of a product."""


class Products(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records the shapes of all matrix products."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.shapes: Counter[Shape] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.name().split("::")[1].split(".")[0]
        tensors = [value for value in args if isinstance(value, Tensor)]
        if name == "linear":
            columns, inner = tensors[1].shape
            self._add(1, tensors[0].numel() // inner, inner, columns)
        elif name in ("mm", "addmm"):
            rows, inner = tensors[-2].shape
            self._add(1, rows, inner, tensors[-1].shape[-1])
        elif name in ("bmm", "baddbmm"):
            count, rows, inner = tensors[-2].shape
            self._add(count, rows, inner, tensors[-1].shape[-1])
        elif "scaled_dot_product" in name:
            (*batch, rows, width), keys = tensors[0].shape, tensors[1].shape[-2]
            count = batch[0] * batch[1]
            self._add(count, rows, width, keys)
            self._add(count, rows, keys, width)
        return function(*args, **(kwargs or {}))

    def _add(self, batch: int, rows: int, inner: int, columns: int) -> None:
        self.shapes[batch, rows, inner, columns] += 1


class Clock:
    """Measures the seconds of a job: CPU time divided by the threads, or wall time."""

    def __init__(self, device: torch.device, wall: bool) -> None:
        self.device, self.wall = device, wall or device.type != "cpu"

    def __call__(self, job: Callable[[], object], calls: int = 1) -> float:
        began = self._now()
        for _ in range(calls):
            job()
        return (self._now() - began) / calls

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() if self.wall else time.process_time() / torch.get_num_threads()


def flops(shapes: Counter[Shape]) -> int:
    return sum(2 * b * m * k * n * count for (b, m, k, n), count in shapes.items())


def best_seconds(shape: Shape, precision: Precision, clock: Clock) -> float:
    """Return the seconds of one product in its fastest way."""
    batch, rows, inner, columns = shape
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    x = torch.randn(batch, rows, inner, device=clock.device, dtype=dtype)
    weight = torch.randn(batch, columns, inner, device=clock.device, dtype=dtype)
    bias = torch.zeros(columns, device=clock.device, dtype=dtype)
    across = weight.mT.contiguous()
    jobs: list[Callable[[], object]] = [lambda: torch.bmm(x, weight.mT), lambda: torch.bmm(x, across)]
    if batch == 1:
        jobs = [lambda: F.linear(x[0], weight[0], bias), lambda: x[0] @ across[0]]
    ways: list[AbstractContextManager[Any]] = [nullcontext()]
    ways += [onednn()] if precision == "fp32" and clock.device.type == "cpu" else []
    measured = []
    for way in ways:
        with torch.inference_mode(), way:
            for job in jobs:
                clock(job, 2)
                calls = max(1, int(SHORT / max(clock(job), 1e-6)))
                measured += [clock(job, calls) for _ in range(3)]
    return min(measured)


class Case:
    """A model in one precision, run in one way."""

    def __init__(self, preset: str, size: int, precision: Precision, way: Way, device: torch.device) -> None:
        config = classifier_preset(preset, 3, 2)
        torch.manual_seed(0)
        self.runtime, self.ours = Runtime(device, precision, way == "compiled"), way != "defaults"
        self.encoder = build(config).to(device).eval().requires_grad_(False).encoder
        if self.ours:
            self.runtime.prepare(self.encoder)
        self.runtime.compile(self.encoder)
        grid = PatchGrid((size, size), config.patch, config.group)
        self.groups = groups_of(grid)
        self.handful = usual_handful(config, "pass", device.type)
        generator = torch.Generator().manual_seed(0)
        shape = (len(self.groups.number), config.tokens, config.values)
        self.pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
        self.mean, self.std = (torch.full((3,), value, device=device) for value in (128.0, 64.0))
        groups = min(self.handful, len(self.groups.number))
        self.tokens = torch.randn(groups, config.tokens, config.token_width, generator=generator).to(device)

    def _mode(self) -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
        if self.ours:
            return torch.inference_mode(), self.runtime.autocast()
        plain = self.runtime.precision == "fp32"
        autocast = nullcontext() if plain else torch.autocast(self.runtime.device.type, torch.bfloat16)
        # Our own attention runs in inference mode alone: no_grad leaves PyTorch's.
        return torch.no_grad(), autocast

    def forward(self) -> Tensor:
        mode, autocast = self._mode()
        with mode, autocast:
            return stream_encoder(
                self.encoder,
                self.groups,
                lambda part: self.pixels[part],
                Streaming(handful=self.handful),
                PassOutputs(),
                lambda patches: normalize(patches, self.mean, self.std),
            )

    def local(self) -> Tensor:
        mode, autocast = self._mode()
        with mode, autocast:
            return self.encoder.trunk.segments[0].local(self.tokens)  # type: ignore[operator, no-any-return]


def measure(preset: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the rows of one preset, one for each precision, way and part."""
    device = torch.device(options.device)
    clock, rows = Clock(device, options.wall), []
    cases = {
        (precision, way): Case(preset, options.size, precision, way, device)
        for precision in options.precisions
        for way in WAYS[: 3 if options.compiled else 2]
    }
    best: dict[tuple[Shape, str], float] = {}
    seconds: dict[tuple[str, Way, str], list[float]] = {}
    shapes_of, compiling = {}, {}
    for (precision, way), case in cases.items():
        if way == "compiled":
            # Compiled code hides its products from `Products`; they are those of "ours".
            compiling[precision] = clock(case.forward)
            case.local()
            continue
        for part, job in (("forward", case.forward), ("local", case.local)):
            with Products() as products:
                job()
            shapes_of[precision, way, part] = products.shapes
            for shape in products.shapes:
                if (shape, precision) not in best:
                    best[shape, precision] = best_seconds(shape, precision, clock)
    for _ in range(options.repeats):
        for (precision, way), case in cases.items():
            for part, job in (("forward", case.forward), ("local", case.local)):
                calls = 1 if part == "forward" else 4
                seconds.setdefault((precision, way, part), []).append(clock(job, calls))
    for (precision, way, part), measured in seconds.items():
        shapes, took = shapes_of[precision, "ours" if way == "compiled" else way, part], statistics.median(measured)
        row: dict[str, Any] = {"preset": preset, "precision": precision, "way": way, "part": part}
        row |= {"seconds": took, "gflops": flops(shapes) / took / 1e9}
        ideal = sum(best[shape, precision] * count for shape, count in shapes.items())
        row |= {"best_gflops": flops(shapes) / ideal / 1e9, "fraction": ideal / took}
        row["gain_over_fp32_defaults"] = statistics.median(seconds.get(("fp32", "defaults", part), measured)) / took
        if way == "compiled":
            ours = statistics.median(seconds[precision, "ours", part])
            row |= {"gain_over_ours": ours / took, "first_pass_seconds": compiling[precision]}
        rows.append(row)
        show(row)
    if options.profile:
        rows += [profile(preset, case) | {"way": way} for (_, way), case in cases.items() if way != "defaults"]
    return rows


def profile(preset: str, case: Case) -> dict[str, Any]:
    """Return the fractions of the time of a pass that its slowest operations take."""
    with torch.profiler.profile() as profiler:
        case.forward()
    on_gpu = case.runtime.device.type == "cuda"
    times = {e.key: e.self_device_time_total if on_gpu else e.self_cpu_time_total for e in profiler.key_averages()}
    total, largest = sum(times.values()), sorted(times, key=lambda name: -times[name])[:12]
    shares = {name: times[name] / total for name in largest}
    text = ", ".join(f"{name.removeprefix('aten::')} {share:.0%}" for name, share in shares.items())
    print(f"{preset:6} {case.runtime.precision} {text}", flush=True)
    return {"preset": preset, "precision": case.runtime.precision, "part": "profile", "shares": shares}


def show(row: dict[str, Any]) -> None:
    print(
        f"{row['preset']:6} {row['precision']} {row['way']:8} {row['part']:8} {row['seconds']:9.3f} s "
        f"{row['gflops']:8.0f} GFLOP/s of {row['best_gflops']:8.0f}: {row['fraction']:.2f}; "
        f"{row['gain_over_fp32_defaults']:.2f} x the speed of the defaults in fp32",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", default=["tiny", "small", "base"])
    parser.add_argument("--precisions", nargs="+", choices=["fp32", "bf16"], default=["fp32", "bf16"])
    parser.add_argument("--size", type=int, default=2048, help="side of the image in pixels")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--wall", action="store_true", help="measure wall time on a CPU too")
    parser.add_argument("--compiled", action="store_true", help="measure compiled layers too")
    parser.add_argument("--profile", action="store_true", help="show the slowest operations of a pass")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for preset in options.presets:
        rows = measure(preset, options)
        if options.out:
            save_rows(options.out, rows, options)


def save_rows(out: Path, rows: list[dict[str, Any]], options: argparse.Namespace) -> None:
    """Replace the rows of the same presets in the file, and keep the others."""
    presets = {row["preset"] for row in rows}
    old = json.loads(out.read_text(encoding="utf-8"))["rows"] if out.exists() else []
    rows = [row for row in old if row["preset"] not in presets] + rows
    save_results(out, ["torch"], {"size": options.size, "rows": rows}, threads=options.threads)


if __name__ == "__main__":
    main()
