"""Estimates the memory and the operations of a training step without running it, from sizes alone.

`paper/executions.py` goes through the step on paper. No step is run, so a laptop can estimate for any device.
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
"""Memory that the allocator of a device loses to fragments, as a fraction of what is allocated."""

LIBRARIES: dict[Precision, int] = {"fp32": 108 << 20, "bf16": 148 << 20}
"""Measured bytes that matrix libraries and threads take on a CPU in a training step."""

FIXED = ("parameters", "optimizer", "ema", "libraries")
"""Names of the parts that are the same in every execution."""

EXECUTIONS = {"plain": whole, "layers": whole, "recompute": recomputed, "stream": streamed}


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """A training step to estimate.

    Attributes:
        config: Config of a classifier, denoiser or decoder.
        groups: Number of groups of each image.
        images: Images of a batch.
        precision: Precision of matrix products.
        device: Kind of the device that computes: "cpu", "cuda" or "mps".
        ema: Whether a moving average of the weights is kept.
        batches: Number of batches whose pixels are in the memory of a CPU, including those that are read ahead.
        shards: Number of processes that shard weights, gradients and optimizer; 0 without sharding.
        compiled: Whether the layers are compiled; then no operations of a layer can be selected to be kept.
        ranks: Number of processes that share each image; the estimate is for the first, which has the most groups.
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
    """Memory and operations of a step.

    Attributes:
        parts: Bytes on the device that computes, by purpose, at the peak.
        reserve_bytes: Bytes that the device needs beside them, for itself and for fragments.
        away_bytes: Bytes of tokens that are stored elsewhere: in host memory or on disk.
        flops: Operations of matrix products and attention, by (part of the model, "product" or "attention").
    """

    parts: dict[str, int]
    reserve_bytes: int
    away_bytes: int
    flops: dict[tuple[str, Product], int]

    @property
    def peak_bytes(self) -> int:
        """Peak on the device that computes: allocated bytes on a GPU; on a CPU, bytes beyond Python with torch."""
        return sum(self.parts.values())

    @property
    def needed_bytes(self) -> int:
        """Smallest memory of a device on which the step fits."""
        return self.peak_bytes + self.reserve_bytes

    @property
    def fixed_bytes(self) -> int:
        """Part of `needed_bytes` that is the same in every execution."""
        return self.reserve_bytes + sum(self.parts.get(name, 0) for name in FIXED)

    @property
    def total_flops(self) -> int:
        """Operations of the whole step."""
        return sum(self.flops.values())


@cache
def estimate_step(work: Training, plan: ExecutionPlan) -> Estimate:
    """Estimate an optimizer step over one batch, after the first step, which creates the moments of AdamW.

    Raises:
        TypeError: The config is that of a bare encoder.
    """
    ledger = Ledger()
    config, groups = work.config, -(-work.groups // work.ranks) * work.images
    run = Operations(
        ledger=ledger,
        low=2 if work.precision == "bf16" else FLOAT,
        flash_workspace=work.device == "cuda",
        # A plain step runs in one autocast context, which caches casts of weights; a replay casts them again.
        cached=plan.kind == "plain",
    )
    ends = ends_of(config, run)
    pixels = groups * config.tokens * ends.patch_bytes
    # A streamed step copies a handful of pixels at a time from the host.
    resident = work.batches if work.device == "cpu" else int(plan.kind != "stream")
    waiting = ledger.take("pixels", resident * pixels)
    rest: Store = "host" if work.device == "cpu" else "device"
    step = PaperStep(Parts(config, run, work.images, ends.context, work.ranks), ends, groups, plan, rest)
    EXECUTIONS[plan.kind](step)
    del waiting
    parts = _parts(work, ledger)
    return Estimate(
        parts=parts, reserve_bytes=reserve_bytes(work.device, parts), away_bytes=step.away, flops=dict(run.flops)
    )


def _parts(work: Training, ledger: Ledger) -> dict[str, int]:
    weights, gathered, at_peak = FLOAT * parameter_count(work.config), {}, dict(ledger.at_peak)
    if work.shards:
        weights = -(-weights // work.shards)
        at_peak["gradients"] = -(-at_peak.get("gradients", 0) // work.shards)
        # The layer that is computed and the next one, which is being gathered, each with its gradients.
        gathered = {"gathered layers": 4 * FLOAT * largest_layer(work.config)}
    libraries = {"libraries": LIBRARIES[work.precision]} if work.device == "cpu" else {}
    ema = {"ema": weights} if work.ema else {}
    return {"parameters": weights, "optimizer": 2 * weights, **ema, **at_peak, **gathered, **libraries}


def reserve_bytes(device: str, parts: dict[str, int]) -> int:
    """Return the bytes that a device needs beside the allocated ones; 0 for a CPU."""
    if device == "cpu":
        return 0
    return OVERHEAD[device] + int(FRAGMENTS * sum(parts.values()))


@cache
def largest_layer(config: TrunkConfig) -> int:
    """Return the parameters of the largest part of a sharded model that is gathered at once."""
    model = cast(nn.Module, build(config, "meta"))  # type: ignore[call-overload]
    layers = [module for module in model.modules() if isinstance(module, SelfAttentionLayer | CrossAttentionLayer)]
    counts = [sum(parameter.numel() for parameter in layer.parameters()) for layer in layers]
    return max(*counts, parameter_count(config) - sum(counts))


@cache
def parameter_count(config: TrunkConfig) -> int:
    """Return the number of parameters of a model."""
    model = cast(nn.Module, build(config, "meta"))  # type: ignore[call-overload]
    return sum(parameter.numel() for parameter in model.parameters())
