"""Estimates the memory and the operations of a training step from a table, without running it for its size.

The table comes from one dry run of the real step, see `dry_run.py`. It holds for any number of groups and images.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import prod
from typing import cast

from torch import nn

from fitcli.device.allocator import CONTEXT_BYTES
from fitcli.device.runtime import Precision
from fitcli.execution.job import largest_handful
from fitcli.execution.plan import ExecutionPlan
from fitcli.memory.dry_run import DryStep
from fitcli.memory.samples import SampleStep
from fitcli.memory.sizes import actual_sizes
from fitcli.memory.table_store import find_table
from models.build import build
from models.config import TrunkConfig
from models.layers import CrossAttentionLayer, SelfAttentionLayer

FLOAT = 4
"""Bytes of a weight in float32."""

OVERHEAD = {"cpu": 72 << 20, "cuda": CONTEXT_BYTES, "mps": 256 << 20}
"""Bytes that a pass takes beside its tensors, by kind of device: for libraries, threads and workspaces of kernels."""

FRAGMENTS = 0.05
"""Memory that the allocator of a device loses to fragments, as a fraction of what is allocated."""

LOADED = 110 << 20
"""Bytes that fit and its libraries take on a CPU beyond Python with torch, before the first training step."""

FIRST_STEP: dict[Precision, int] = {"fp32": 48 << 20, "bf16": 84 << 20}
"""Bytes that the first training step on a CPU adds beside its tensors: threads, workspaces of kernels, and what the
allocator cannot return."""

FIXED = ("parameters", "optimizer", "ema", "libraries")
"""Names of the parts that are the same in every execution."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """A training step to estimate.

    Attributes:
        task: Task of the model.
        config: Config of the model.
        groups: Number of groups of each image.
        images: Images of a batch.
        precision: Precision of matrix products.
        device: Kind of the device that computes: "cpu", "cuda" or "mps".
        ema: Whether a moving average of the weights is kept.
        batches: Number of batches whose pixels are in the memory of a CPU, including those that are read ahead.
        reading: Number of images that are being read into the memory of a CPU during a step.
        value_bytes: Bytes per value of a pixel; None for those of the sample step.
        shards: Number of processes that shard weights, gradients and optimizer; 0 without sharding.
        compiled: Whether the layers are compiled; then no operations of a layer can be selected to be kept.
        ranks: Number of processes that share each image; the estimate is for the first, which has the most groups.
        loaded_bytes: Bytes that the process has on a CPU beyond Python with torch, without the model; a training run
            measures them.
    """

    task: SampleStep
    config: TrunkConfig
    groups: int
    images: int = 1
    precision: Precision = "fp32"
    device: str = "cuda"
    ema: bool = False
    batches: int = 4
    reading: int = 0
    value_bytes: int | None = None
    shards: int = 0
    compiled: bool = False
    ranks: int = 1
    loaded_bytes: int = LOADED

    @property
    def own_groups(self) -> int:
        """Groups of each image that the process has, if several share the image: those of the first, the most."""
        return -(-self.groups // self.ranks)

    @property
    def pixel_bytes(self) -> int:
        """Bytes of the pixels of a batch."""
        one = self.task.step_input(self.config)
        return self.images * self.own_groups * prod(one.shape) * (self.value_bytes or one.dtype.itemsize)


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """Memory and operations of a step.

    Attributes:
        parts: Bytes on the device that computes, by purpose, at the peak.
        reserve_bytes: Bytes that the device needs beside them, for itself and for fragments.
        away_bytes: Bytes of tokens that are stored elsewhere: in host memory or on disk.
        flops: Operations of matrix products and attention, by "part of the model, kind".
    """

    parts: dict[str, int]
    reserve_bytes: int
    away_bytes: int
    flops: dict[str, int]

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

    The last handful counts as a whole one.

    Raises:
        FitError: The step cannot run without memory.
    """
    own_groups = work.own_groups
    handfuls, kept_groups, keep = _kept(work, plan, own_groups)
    table = find_table(dry_step(work, plan))
    sizes = actual_sizes(
        work.images, own_groups, handfuls if plan.in_handfuls else own_groups * work.images, kept_groups, 0 < keep < 1
    )
    near = plan.store == ("host" if work.device == "cpu" else "device")
    without = (
        {"pixels"} | ({"stored tokens"} if not near else set()) | ({"workspace"} if work.device != "cuda" else set())
    )
    peak = table.peak(sizes, without)
    # A streamed step copies a handful of pixels at a time from the host.
    resident = work.batches if work.device == "cpu" else int(plan.kind != "stream")
    pixels = resident * work.pixel_bytes
    if work.device == "cpu":
        # An image that is being read exists as decoded rows, and in its patches before and after they are turned.
        pixels += 2 * work.reading * work.pixel_bytes // work.images
    parts = _parts(work, {"pixels": pixels, **peak.parts})
    return Estimate(
        parts=parts,
        reserve_bytes=reserve_bytes(work.device, parts),
        away_bytes=0 if near else peak.stored_bytes,
        flops=table.operations(sizes),
    )


def dry_step(work: Training, plan: ExecutionPlan) -> DryStep:
    """Return the dry run whose table tells what a step takes."""
    keep = _kept(work, plan, work.own_groups)[2]
    shape = ExecutionPlan(
        kind=plan.kind, keep=keep, selective=plan.selective and keep > 0, global_layers=plan.global_layers
    )
    config = work.task.typical_config(work.config)
    return DryStep(task=work.task, config=config, plan=shape, precision=work.precision, ranks=work.ranks)


def fixed_parts(work: Training) -> dict[str, int]:
    """Return the bytes that a step takes in every execution, by purpose. They are known without a dry run."""
    parts = _parts(work, {"gradients": 0})
    return {name: size for name, size in parts.items() if name in FIXED}


def _kept(work: Training, plan: ExecutionPlan, own_groups: int) -> tuple[int, int, float]:
    """Return the groups of a handful, the groups in kept handfuls, and the fraction that is kept: 0, 0.5 or 1."""
    groups = own_groups * work.images
    handful = min(plan.handful, largest_handful(work.config), groups)
    if plan.kind != "recompute":
        return handful, 0, 0.0
    handfuls = -(-groups // handful)
    kept = plan.kept(handfuls)
    if kept in (0, handfuls):
        return handful, 0, float(kept > 0)
    return handful, groups - (handfuls - kept) * handful, 0.5


def _parts(work: Training, at_peak: dict[str, int]) -> dict[str, int]:
    weights, gathered = FLOAT * parameter_count(work.config), {}
    if work.shards:
        weights = -(-weights // work.shards)
        at_peak["gradients"] = -(-at_peak["gradients"] // work.shards)
        # The layer that is computed and the next one, which is being gathered, each with its gradients.
        gathered = {"gathered layers": 4 * FLOAT * largest_layer(work.config)}
    libraries = {"libraries": work.loaded_bytes + FIRST_STEP[work.precision]} if work.device == "cpu" else {}
    ema = {"ema": weights} if work.ema else {}
    held = {name: size for name, size in at_peak.items() if size or name == "gradients"}
    return {"parameters": weights, "optimizer": 2 * weights, **ema, **held, **gathered, **libraries}


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


def parameters_text(config: TrunkConfig) -> str:
    """Return the number of parameters of a model as text."""
    count = parameter_count(config)
    return f"{count / 1e6:.0f} M parameters" if count >= 10e6 else f"{count:,} parameters"


@cache
def parameter_count(config: TrunkConfig) -> int:
    """Return the number of parameters of a model."""
    model = cast(nn.Module, build(config, "meta"))  # type: ignore[call-overload]
    return sum(parameter.numel() for parameter in model.parameters())
