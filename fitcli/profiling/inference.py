"""Estimates the memory and the operations of a forward pass over one image, as `fit classify` plans it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from fitcli.device.runtime import Precision
from fitcli.memory.budget import HANDFUL_PARTS, Work, kept_for_reuse, largest_handful, pass_parts
from fitcli.memory.dry_run import DryPass
from fitcli.memory.estimate import FLOAT, OVERHEAD, Estimate, parameter_count, reserve_bytes
from fitcli.memory.samples import SamplePass
from fitcli.memory.sizes import actual_sizes
from fitcli.memory.table_store import find_table
from fitcli.streaming.token_store import StoreKind
from models.config import TrunkConfig

PASS_EXECUTIONS: tuple[tuple[str, StoreKind | None], ...] = (
    ("whole", None), ("streamed, on the device", "device"), ("streamed, from the host", "host"),
    ("streamed, from disk", "disk"),
)  # fmt: skip
"""Executions of a pass, from the fastest to the smallest: name, and store for tokens; None for one call over all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Inference:
    """A forward pass over one image.

    Attributes:
        task: The pass of a task.
        config: Config of a classifier, denoiser or decoder.
        groups: Number of groups of the image.
        precision: Precision of matrix products.
        device: Kind of the device that computes: "cpu", "cuda" or "mps".
        budget_bytes: Memory of the device. A streamed pass takes as many groups at a time as fit.
    """

    task: SamplePass
    config: TrunkConfig
    groups: int
    precision: Precision = "fp32"
    device: str = "cuda"
    budget_bytes: int

    @property
    def work(self) -> Work:
        """The pass as `plan_memory` takes it, for an image with small chunks."""
        one = self.task.step_input(self.config)
        return Work(
            task=self.task,
            config=self.config,
            precision=self.precision,
            groups=self.groups,
            weights_bytes=FLOAT * parameter_count(self.config),
            value_bytes=one.dtype.itemsize,
            values=one.shape[-1] if len(one.shape) > 1 else 1,
        )


def pass_executions(device: str) -> Iterator[tuple[str, StoreKind | None]]:
    """Return the executions of a pass on a kind of device, see `PASS_EXECUTIONS`. On a CPU, the host is the device."""
    return ((name, store) for name, store in PASS_EXECUTIONS if not (device == "cpu" and store == "device"))


def streamed_handful(inference: Inference, store: StoreKind | None) -> int:
    """Return how many groups a streamed pass takes at a time: as many as fit, at least one."""
    if store is None:
        return inference.groups
    return max(1, largest_handful(inference.work, inference.device, store, "disk", inference.budget_bytes))


@cache
def estimate_pass(inference: Inference, store: StoreKind | None) -> Estimate:
    """Estimate a pass.

    Args:
        inference: The pass.
        store: Store for tokens; None for one call over everything.
    """
    device, work = inference.device, inference.work
    config = inference.task.typical_config(inference.config)
    whole = find_table(DryPass(task=inference.task, config=config, precision=inference.precision, streamed=False))
    sizes = actual_sizes(1, work.groups, work.groups)
    flops = whole.operations(sizes)
    if store is None:
        at_peak = whole.peak(sizes, {"pixels", "workspace"}).parts
        pixels = work.groups * work.config.tokens * work.values * work.value_bytes
        held = {name: size for name, size in at_peak.items() if size}
        libraries = (
            {"libraries": OVERHEAD["cpu"] + kept_for_reuse(sum(held.get(name, 0) for name in HANDFUL_PARTS))}
            if device == "cpu"
            else {}
        )
        parts = {"parameters": work.weights_bytes, "pixels": pixels, **held, **libraries}
        return Estimate(parts=parts, reserve_bytes=reserve_bytes(device, parts), away_bytes=0, flops=flops)
    handful = streamed_handful(inference, store)
    parts = pass_parts(work, device, handful, store, "disk")
    parts = {"parameters": parts.pop("weights"), **parts}
    # What a device needs for itself does not depend on the pass: it is reserved, not part of the peak.
    overhead = parts.pop("overhead") if device != "cpu" else 0
    is_near = store == ("host" if device == "cpu" else "device")
    return Estimate(parts=parts, reserve_bytes=overhead, away_bytes=0 if is_near else work.tokens_bytes, flops=flops)
