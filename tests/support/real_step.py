"""Runs a real training step of real size on tensors without memory, group by group: the obvious way to its peak.

Every storage counts from its creation to its release, rounded as in CUDA's allocator. The float32 workspace of the
backward pass of flash attention counts, too.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry
from torch.utils.weak import WeakIdKeyDictionary

from fitcli.device.runtime import Precision
from fitcli.execution.plan import ExecutionPlan
from fitcli.execution.run import run_job
from fitcli.memory.dry_model import autocast, dry_gather, without_memory
from fitcli.memory.dry_run import reader
from fitcli.memory.samples import SampleStep
from fitcli.streaming.token_store import TokenStore
from models.build import build
from models.config import TrunkConfig
from models.groups import Groups

ATTENTION = "_scaled_dot_product_flash_attention_for_cpu"

ROUNDING = 512
"""Size to whose multiples CUDA's allocator rounds, in bytes."""


class Simulation(NamedTuple):
    """Memory and operations of a simulated step.

    Attributes:
        peak_bytes: Peak beside the weights and the state of the optimizer; gradients of weights are included.
        away_bytes: Bytes of tokens that are not stored on the device.
        flops: Operations of matrix products and attention.
    """

    peak_bytes: int
    away_bytes: int
    flops: int


def simulate_step(
    task: SampleStep,
    config: TrunkConfig,
    images: int,
    side: tuple[int, int],
    plan: ExecutionPlan,
    precision: Precision,
    ranks: int = 1,
) -> Simulation:
    """Run a training step on fake tensors.

    Args:
        task: Task of the model.
        config: Config of the model.
        images: Images of the batch.
        side: Rows and columns of groups of each image.
        plan: Execution of the step. Stored tokens and the pixels of a streamed step are not on the device.
        precision: Precision of matrix products.
        ranks: Number of processes that share the images; the step is that of the first.
    """
    model = cast(nn.Module, build(config, "meta"))  # type: ignore[call-overload]
    with FakeTensorMode():
        without_memory(model)
        groups = Groups.of_grid(images, *side)
        if ranks > 1:
            groups = groups.share_of(0, ranks, partial(dry_gather, ranks))
        with Meter(model.parameters()) as meter, autocast(precision):
            read = reader(task.step_input(config), len(groups.number), on_device=plan.kind != "stream")
            shapes = ShapesOnly(**{each.name: getattr(plan, each.name) for each in fields(ExecutionPlan)})
            run_job(task.sample_step(model, groups, read, shapes), shapes)
    return Simulation(meter.peak, shapes.away.most, meter.flops)


class Away:
    """Counts the bytes of tokens that are stored elsewhere."""

    now = most = 0

    def add(self, count: int) -> None:
        self.now += count
        self.most = max(self.most, self.now)


@dataclass(frozen=True, kw_only=True)
class ShapesOnly(ExecutionPlan):
    """An execution whose stores keep shapes only."""

    away: Away = field(default_factory=Away)

    def open_store(self, shape: tuple[int, int, int], dtype: torch.dtype, device: torch.device) -> TokenStore:
        if self.kind != "stream":
            return ExecutionPlan.open_store(self, shape, dtype, device)
        self.away.add(math.prod(shape) * dtype.itemsize)
        return ShapeOnlyStore(shape, dtype, device, self.away)


class ShapeOnlyStore(TokenStore):
    """A store of tokens elsewhere than on the device: it keeps their shape only."""

    def __init__(self, shape: tuple[int, int, int], dtype: torch.dtype, device: torch.device, away: Away) -> None:
        self._shape, self._dtype, self._device, self._away = shape, dtype, device, away

    def put(self, part: slice, tokens: Tensor) -> None:
        assert tokens.dtype == self._dtype

    def get(self, part: slice, fetched: Tensor | None = None) -> Tensor:
        return torch.empty(part.stop - part.start, *self._shape[1:], dtype=self._dtype, device=self._device)

    def close(self) -> None:
        self._away.add(-math.prod(self._shape) * self._dtype.itemsize)
        self._shape = (0, 0, 0)


class Meter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the live bytes of storages that are created within its context, and operations.

    Args:
        ignored: Tensors whose storages do not count.

    Attributes:
        live, peak: Present and highest number of live bytes.
        flops: Operations of matrix products and attention.
    """

    def __init__(self, ignored: Iterable[Tensor] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = self.peak = self.flops = 0
        self._seen: Any = WeakIdKeyDictionary()
        for tensor in ignored:
            self._seen[tensor.untyped_storage()] = True

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        packet, extra = func._overloadpacket, 0
        if packet.__name__.startswith(ATTENTION):
            backward = packet.__name__.endswith("backward")
            query, key = args[1:3] if backward else args[:2]
            self.flops += query.numel() * key.shape[-2] * (10 if backward else 4)
            extra = 4 * query.numel() if backward else 0
        elif packet in flop_registry:
            self.flops += flop_registry[packet](*args, **(kwargs or {}), out_val=out)
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                self._count(tensor.untyped_storage())
        self.peak = max(self.peak, self.live + extra)
        return out

    def _count(self, storage: Any) -> None:
        if storage not in self._seen:
            size = -(-storage.nbytes() // ROUNDING) * ROUNDING
            self._seen[storage] = True
            self.live += size
            weakref.finalize(storage, self._release, size)

    def _release(self, size: int) -> None:
        self.live -= size
