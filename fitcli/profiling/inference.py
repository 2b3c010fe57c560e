"""Estimates the memory and the operations of a forward pass over one image.

A pass in one call is computed on paper, like a training step; a streamed pass by `memory/budget.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from fitcli.device.runtime import Precision
from fitcli.execution.plan import ExecutionPlan
from fitcli.memory.budget import OVERHEAD, Work, pass_parts
from fitcli.memory.estimate import Estimate, parameter_count, reserve_bytes
from fitcli.memory.paper.executions import forward
from fitcli.memory.paper.heads_and_stems import ends_of
from fitcli.memory.paper.layers import Parts
from fitcli.memory.paper.ledger import Ledger
from fitcli.memory.paper.operations import FLOAT, Operations
from fitcli.memory.paper.step import PaperStep
from fitcli.memory.paper.tape import Product
from fitcli.memory.plan import STEP_HANDFUL_TOKENS
from fitcli.streaming.token_store import StoreKind
from models.config import DecoderConfig, TrunkConfig

PASS_EXECUTIONS: tuple[tuple[str, StoreKind | None], ...] = (
    ("whole", None), ("streamed, on the device", "device"), ("streamed, from the host", "host"),
    ("streamed, from disk", "disk"),
)  # fmt: skip
"""Executions of a pass, from the fastest to the smallest: name, and store for tokens; None for one call over all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Inference:
    """A forward pass over one image.

    Attributes:
        config: Config of a classifier, denoiser or decoder.
        groups: Number of groups of the image.
        precision: Precision of matrix products.
        device: Kind of the device that computes: "cpu", "cuda" or "mps".
    """

    config: TrunkConfig
    groups: int
    precision: Precision = "fp32"
    device: str = "cuda"

    @property
    def work(self) -> Work:
        """The pass as `plan_memory` takes it, for an image with small chunks."""
        values = 1 if isinstance(self.config, DecoderConfig) else int(getattr(self.config, "values", 1))
        return Work(
            config=self.config,
            groups=self.groups,
            weights_bytes=FLOAT * parameter_count(self.config),
            value_bytes=8 if isinstance(self.config, DecoderConfig) else 1,
            values=values,
        )


def pass_executions(device: str) -> Iterator[tuple[str, StoreKind | None]]:
    """Return the executions of a pass on a kind of device, see `PASS_EXECUTIONS`. On a CPU, the host is the device."""
    return ((name, store) for name, store in PASS_EXECUTIONS if not (device == "cpu" and store == "device"))


@cache
def estimate_pass(inference: Inference, store: StoreKind | None) -> Estimate:
    """Estimate a pass.

    Args:
        inference: The pass.
        store: Store for tokens; None for one call over everything.
    """
    config, device = inference.config, inference.device
    whole, flops = _whole(inference)
    if store is None:
        return Estimate(parts=whole, reserve_bytes=reserve_bytes(device, whole), away_bytes=0, flops=flops)
    work = inference.work
    handful = max(1, min(STEP_HANDFUL_TOKENS[device] // config.tokens, work.groups))
    sizes = pass_parts(work, device, handful, store, "disk")
    parts = {"parameters": sizes.pop("weights"), **{name: size for name, size in sizes.items() if size}}
    # What a device needs for itself does not depend on the pass: it is reserved, not part of the peak.
    overhead = parts.pop("overhead") if device != "cpu" else 0
    is_near = store == ("host" if device == "cpu" else "device")
    return Estimate(parts=parts, reserve_bytes=overhead, away_bytes=0 if is_near else work.tokens_bytes, flops=flops)


def _whole(inference: Inference) -> tuple[dict[str, int], dict[tuple[str, Product], int]]:
    """Return the bytes by purpose, and the operations, of a pass in one call."""
    ledger = Ledger()
    run = Operations(ledger=ledger, low=2 if inference.precision == "bf16" else FLOAT, recording=False, cached=True)
    ends = ends_of(inference.config, run)
    pixels = ledger.take("pixels", inference.groups * inference.config.tokens * ends.patch_bytes)
    parts = Parts(inference.config, run, 1, ends.context)
    forward(PaperStep(parts, ends, inference.groups, ExecutionPlan()))
    del pixels
    libraries = {"libraries": OVERHEAD["cpu"]} if inference.device == "cpu" else {}
    return {"parameters": FLOAT * parameter_count(inference.config), **ledger.at_peak, **libraries}, dict(run.flops)
