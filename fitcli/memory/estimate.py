"""What a training step takes, in bytes by what they are for and in operations, without running it.

From the sizes alone: `executions.py` goes through the step on paper. Nothing is measured, so that a laptop answers for
a device that is not there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import cast

from torch import nn

from fitcli.device.runtime import Precision
from fitcli.execution.plan import ExecutionPlan, Store
from fitcli.memory.budget import OVERHEAD
from fitcli.memory.paper.executions import recomputed, streamed, whole
from fitcli.memory.paper.heads_and_stems import ends_of
from fitcli.memory.paper.layers import Parts
from fitcli.memory.paper.ledger import Ledger
from fitcli.memory.paper.operations import FLOAT, Operations
from fitcli.memory.paper.step import PaperStep
from fitcli.memory.paper.tape import Product
from models.build import build
from models.config import TrunkConfig
from models.layers import CrossAttentionLayer, SelfAttentionLayer

FRAGMENTS = 0.05
"""Share of what is allocated on a device that its allocator keeps beside it."""

LIBRARIES: dict[Precision, int] = {"fp32": 108 << 20, "bf16": 148 << 20}
"""What libraries of matrix products and threads take on a CPU in a training step, as measured."""

FIXED = ("parameters", "optimizer", "ema", "libraries")
"""Parts that are the same in every execution."""

EXECUTIONS = {"plain": whole, "layers": whole, "recompute": recomputed, "stream": streamed}


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """A training step.

    Attributes:
        config: Of a classifier, denoiser or decoder.
        groups: Of each image.
        images: In a batch.
        precision: Of matrix products.
        device: Kind of the device that computes: "cpu", "cuda" or "mps".
        ema: A moving average of the weights is kept.
        batches: Of pixels in memory, where the device is a CPU: those that are read ahead, too.
        shards: Processes that share weights, gradients and optimizer out; 0 where each has all of them.
        compiled: Its layers are, so that no operations can be selected that are kept.
        ranks: That share each image; the step is that of the first, which has the most groups.
    """

    config: TrunkConfig
    groups: int
    images: int = 1
    precision: Precision = "fp32"
    device: str = "cuda"
    ema: bool = False
    batches: int = 4
    shards: int = 0
    compiled: bool = False
    ranks: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """What a step takes.

    Attributes:
        parts: Bytes where it computes, by what they are for, at the moment of the most.
        reserve_bytes: Beside them: what the device needs for itself, and fragments that its allocator keeps.
        away_bytes: Of tokens at rest elsewhere: in host memory or on disk.
        flops: Operations of matrix products and attention, by (place in the model, "product" or "attention").
    """

    parts: dict[str, int]
    reserve_bytes: int
    away_bytes: int
    flops: dict[tuple[str, Product], int]

    @property
    def peak_bytes(self) -> int:
        """The most that is held where it computes: allocated on a device; on a CPU, beyond Python with torch."""
        return sum(self.parts.values())

    @property
    def needed_bytes(self) -> int:
        """What must be there for it to fit."""
        return self.peak_bytes + self.reserve_bytes

    @property
    def fixed_bytes(self) -> int:
        """Of what must be there, what no execution changes."""
        return self.reserve_bytes + sum(self.parts.get(name, 0) for name in FIXED)

    @property
    def total_flops(self) -> int:
        """Of everything."""
        return sum(self.flops.values())


@cache
def estimate_step(work: Training, plan: ExecutionPlan) -> Estimate:
    """What one optimizer step over one batch takes, from the second step on: AdamW has its moments then.

    Raises:
        TypeError: The config is that of a bare encoder.
    """
    ledger = Ledger()
    config, groups = work.config, -(-work.groups // work.ranks) * work.images
    run = Operations(
        ledger=ledger,
        low=2 if work.precision == "bf16" else FLOAT,
        flash_workspace=work.device == "cuda",
        # Plain steps run in one autocast, which keeps its casts; what is replayed casts anew.
        cached=plan.kind == "plain",
    )
    ends = ends_of(config, run)
    pixels = groups * config.tokens * ends.patch_bytes
    # A streamed step takes its pixels from the host, a handful at a time.
    near = work.batches if work.device == "cpu" else int(plan.kind != "stream")
    waiting = ledger.take("pixels", near * pixels)
    rest: Store = "host" if work.device == "cpu" else "device"
    step = PaperStep(Parts(config, run, work.images, ends.context, work.ranks), ends, groups, plan, rest)
    EXECUTIONS[plan.kind](step)
    del waiting
    parts = _parts(work, ledger)
    return Estimate(
        parts=parts, reserve_bytes=reserve_bytes(work.device, parts), away_bytes=step.away, flops=dict(run.flops)
    )


def _parts(work: Training, ledger: Ledger) -> dict[str, int]:
    weights, gathered, at_peak = FLOAT * parameters(work.config), {}, dict(ledger.at_peak)
    if work.shards:
        weights = -(-weights // work.shards)
        at_peak["gradients"] = -(-at_peak.get("gradients", 0) // work.shards)
        # A layer that is computed and the one that is on its way, each with its gradients.
        gathered = {"gathered layers": 4 * FLOAT * largest_layer(work.config)}
    libraries = {"libraries": LIBRARIES[work.precision]} if work.device == "cpu" else {}
    ema = {"ema": weights} if work.ema else {}
    return {"parameters": weights, "optimizer": 2 * weights, **ema, **at_peak, **gathered, **libraries}


def reserve_bytes(device: str, parts: dict[str, int]) -> int:
    """What a device needs beside what is allocated there."""
    if device == "cpu":
        return 0
    return OVERHEAD[device] + int(FRAGMENTS * sum(parts.values()))


@cache
def largest_layer(config: TrunkConfig) -> int:
    """Parameters of the largest part of a model that is gathered at once where its weights are shared out."""
    model = cast(nn.Module, build(config, "meta"))  # type: ignore[call-overload]
    layers = [module for module in model.modules() if isinstance(module, SelfAttentionLayer | CrossAttentionLayer)]
    counts = [sum(parameter.numel() for parameter in layer.parameters()) for layer in layers]
    return max(*counts, parameters(config) - sum(counts))


@cache
def parameters(config: TrunkConfig) -> int:
    """How many a model has."""
    model = cast(nn.Module, build(config, "meta"))  # type: ignore[call-overload]
    return sum(parameter.numel() for parameter in model.parameters())
