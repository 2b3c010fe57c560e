"""Counts the kernels and the arithmetic of a generation step, to show where CUDA graphs would help.

    python -m benchmarks.speed.launches [--presets tiny small base] [--sizes 64 256 512 1024 2048] [--out FILE]

Counts on meta tensors, so no device is needed. Every operation that is not a view counts as one kernel; on a real
device some are two kernels and some are none. Both times are assumptions, not measurements: "launching" is 5 us per
kernel, the least that PyTorch's own part of a launch takes; "computing" is the matrix products at 400 TFLOP/s.

denoising: one step of `fit generate` with a diffusion model, with patches and tokens on the device. drawing: one value
of each of 16 sequences of an autoregressive model, its draw included.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.support.machine import save_results
from fitcli.memory.handfuls import usual_handful
from fitcli.streaming.sweeps import Streaming
from fitcli.tasks.autoregressive.decoding.kv_cache import CachedDecoder
from fitcli.tasks.autoregressive.decoding.token_sampling import Draws
from fitcli.tasks.diffusion.canvas import CanvasLayout, open_canvas
from fitcli.tasks.diffusion.sampling import Quantity, Sampling, sample
from fitcli.tasks.diffusion.streamed_view import StreamedView
from models.build import build
from models.groups import Groups
from models.presets import DECODERS, decoder_preset, denoiser_preset

DEVICE = torch.device("meta")
LAUNCH_SECONDS, FLOPS = 5e-6, 400e12
SEQUENCES = 16


class Kernels(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts kernels, leaving out views and uninitialised memory, and the FLOPs of matrix products and attention."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = self.flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.removeprefix("aten::")
        given = [leaf for leaf in tree_leaves(args) if isinstance(leaf, Tensor)]
        self.count += not (func.is_view or "empty" in name or name == "_unsafe_view")
        if name in ("mm", "addmm", "bmm", "baddbmm"):
            self.flops += 2 * given[-2].numel() * given[-1].shape[-1]
        elif "scaled_dot_product" in name:
            self.flops += 4 * given[0].numel() * given[1].shape[-2]
        return func(*args, **(kwargs or {}))


def counted(job: Callable[[], object]) -> dict[str, float]:
    """Count the kernels of the second call of a job."""
    with torch.no_grad():
        job()
        with Kernels() as kernels:
            job()
    launching, computing = 1000 * kernels.count * LAUNCH_SECONDS, 1000 * kernels.flops / FLOPS
    return {"kernels": kernels.count, "ms of launching": launching, "ms of computing": computing}


def denoising(preset: str, size: int) -> dict[str, Any]:
    """Count one denoising step of an image of `size` x `size` pixels."""
    config, patch = denoiser_preset(preset, 3, classes=2)
    model, side = build(config, DEVICE).eval(), -(-size // (patch * config.group)) * config.group
    layout, names = CanvasLayout(side, side, config.group), get_args(Quantity)
    canvases: dict[Quantity, Any] = {name: open_canvas("device", side, side, config.values, DEVICE) for name in names}
    how = Streaming(handful=usual_handful(config, "pass", "cuda"), store="device")
    view = StreamedView(model, layout, how, canvases, canvases)
    like, condition = torch.empty(1, device=DEVICE), torch.empty(1, 1, 2, device=DEVICE)
    steps = sample(lambda k: view, Sampling(steps=50, prediction="v"), like, condition)
    handfuls = len(how.slices(layout.count))
    return {"preset": preset, "size": size, "handfuls": handfuls, **counted(lambda: next(steps))}


def drawing(preset: str) -> dict[str, Any]:
    """Count one value of every sequence, its draw included."""
    config, _ = decoder_preset(preset, 3, 0, 256, 1)
    model = build(config, DEVICE).eval()
    decoder = CachedDecoder(model, Groups.of_grid(1, 4, 4).to(DEVICE), SEQUENCES)
    ids = torch.empty(SEQUENCES, dtype=torch.int64, device=DEVICE)
    numbers, draws = torch.empty(SEQUENCES, dtype=torch.float64, device=DEVICE), Draws()
    return {"preset": preset, "places": config.tokens, **counted(lambda: draws.draw(decoder.step(ids), numbers))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", default=["tiny", "small", "base"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[64, 256, 512, 1024, 2048])
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    options = parser.parse_args()
    jobs: list[Callable[[], dict[str, Any]]] = [
        *(partial(denoising, preset, size) for preset in options.presets for size in options.sizes),
        *(partial(drawing, preset) for preset in options.presets if preset in DECODERS),
    ]
    rows = []
    for job in jobs:
        rows.append(job())
        print(", ".join(f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
                        for name, value in rows[-1].items()), flush=True)  # fmt: skip
    save_results(options.out, ["torch"], {"rows": rows})


if __name__ == "__main__":
    main()
