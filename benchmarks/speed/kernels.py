"""Shows which kernels the attention of a model runs in, and how many other kernels a layer launches.

    python -m benchmarks.speed.kernels --device cuda [--preset base] [--groups 64] [--compiled] [--out FILE.json]

Covers every kind of attention in bf16: local layers (tokens of a group), read (latents to tokens), write (tokens to
latents) and mix (all latents), for whole groups of one image, and for groups at an edge and two images of different
sizes; with and without gradients. `operations` are the attention operations that PyTorch chose; `kernels` are the
kernels of the device with their number of launches. Without a fused operation, attention is plain arithmetic: it is
slow, and its memory is quadratic in the tokens. On a CPU there are only operations.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd import DeviceType  # type: ignore[attr-defined]

from benchmarks.support.machine import save_results
from fitcli.device.runtime import Runtime
from models.build import build
from models.config import ClassifierConfig
from models.images import Images
from models.presets import classifier_preset
from models.trunk import Segment

Call = Callable[[], Tensor]

FUSED = ("flash", "efficient", "cudnn")
"""Parts of the names of fused operations."""


def cases(model: Any, config: ClassifierConfig, groups: int, device: torch.device) -> Iterator[tuple[str, bool, Call]]:
    """Yield (kind of attention, whether groups are at an edge, a function that calls it once)."""
    segment: Segment = model.encoder.trunk.segments[0]
    assert segment.read is not None
    assert segment.write is not None
    assert segment.mix is not None
    local, mix, read, write = next(iter(segment.local)), next(iter(segment.mix.stack)), segment.read, segment.write
    n, m, c, d = config.tokens, config.latents, config.token_width, config.latent_width
    tokens = torch.randn(groups, n, c, device=device, requires_grad=True)
    latents = torch.randn(groups, m, d, device=device, requires_grad=True)
    together = torch.randn(1, groups * m, d, device=device, requires_grad=True)
    sizes = (groups * m // 2, groups * m - groups * m // 2)
    for edge in (False, True):
        some = tokens[:, : n - 3].detach().requires_grad_() if edge else tokens
        yield "local", edge, partial(local, some)
        yield "read", edge, partial(read, latents, some)
        yield "write", edge, partial(write, some, latents)
        yield "mix", edge, partial(mix, together, Images(sizes) if edge else None)


def profiled(runtime: Runtime, call: Call, backward: bool) -> tuple[list[str], Counter[str]]:
    """Return the attention operations of a call, and the launches of each kernel on the device."""

    def run() -> None:
        with torch.enable_grad() if backward else torch.no_grad():
            with runtime.autocast():
                out = call()
            if backward:
                out.sum().backward()  # type: ignore[no-untyped-call]
        runtime.synchronize()

    run()
    run()
    with torch.profiler.profile() as profiler:
        run()
    events = profiler.events()
    assert events is not None
    operations = sorted({event.name for event in events if "scaled_dot_product" in event.name})
    on_device = [e.name for e in events if e.device_type == DeviceType.CUDA]
    return operations, Counter(name[:100] for name in on_device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--preset", default="base")
    parser.add_argument("--groups", type=int, default=64, help="groups of the image")
    parser.add_argument("--compiled", action="store_true", help="measure compiled layers too")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    config = classifier_preset(options.preset, 3, 100)
    for compiled in (False, True) if options.compiled else (False,):
        runtime = Runtime(torch.device(options.device), "bf16", compiled)
        model = build(config).to(runtime.device)
        runtime.compile(model)
        for kind, edge, call in cases(model, config, options.groups, runtime.device):
            for backward in (False, True):
                row: dict[str, Any] = {"attention": kind, "edge": edge, "backward": backward, "compiled": compiled}
                try:
                    operations, kernels = profiled(runtime, call, backward)
                    row |= {"operations": operations, "fused": any(kind in str(operations) for kind in FUSED)}
                    row |= {"launches": sum(kernels.values()), "kernels": dict(kernels)}
                except (RuntimeError, AssertionError) as error:
                    row["failed"] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
                rows.append(row)
                print(f"{kind:5} {edge=!s:12} {backward=!s:14} {compiled=!s:14} {row.get('fused', row)}", flush=True)
                save_results(options.out, ["torch"], {"rows": rows})


if __name__ == "__main__":
    main()
