"""Records live bytes and operations while a step runs, as multiples of the sizes that they grow with."""

from __future__ import annotations

import weakref
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry
from torch.utils.weak import WeakIdKeyDictionary

from fitcli.memory.sizes import ALL_GROUPS, HANDFULS, IN_BETWEEN, DrySizes, Size
from models.causal_strips import STRIP
from models.trunk import Segment

ATTENTION = "_scaled_dot_product_flash_attention_for_cpu"

PLACES = {"ends": "stem and head", "local": "local layers", "cross": "read and write", "global": "global layers"}
"""Parts of a model, and what bytes of their forward pass are for. The loss belongs to the head."""

PURPOSES = ("gradients", "pixels", "stored tokens", "workspace", "backward pass", *PLACES.values())
"""What bytes are for: those of `PLACES`; what a backward pass takes besides; gradients of weights; the input; tokens in
a store; and the float32 workspace of the backward pass of flash attention on a GPU."""

Forms = NDArray[np.int64]
"""Bytes as multiples of sizes, [purposes sizes]."""

Kind = str
"""Kind of operations: "product" or "attention"."""


class _Held:
    """A live storage: its purpose, and the size and the factor that its bytes are."""

    __slots__ = ("factor", "purpose", "size")

    def __init__(self, purpose: int, size: Size, factor: int) -> None:
        self.purpose, self.size, self.factor = purpose, size, factor


class Meter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records what is live after each operation of a step, and the operations.

    Args:
        model: The model. Its weights do not count.
        sizes: Sizes of the dry run.

    Attributes:
        lines: Live bytes after each operation that took memory, outside of the parts in between.
        flops: Operations by (part of the model, kind), as multiples of sizes, [sizes].
    """

    def __init__(self, model: nn.Module, sizes: DrySizes) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.lines: list[Forms] = []
        self.flops: dict[tuple[str, Kind], NDArray[np.float64]] = defaultdict(lambda: np.zeros(len(Size)))
        self._sizes = sizes
        self._live: Forms = np.zeros((len(PURPOSES), len(Size)), np.int64)
        self._held: Any = WeakIdKeyDictionary()
        self._places: list[str] = []
        self._place_of: Any = WeakIdKeyDictionary()
        self._purpose: str | None = None
        self._part: Size | None = None
        self._watch(model)

    @contextmanager
    def purpose(self, name: str) -> Iterator[None]:
        """Count what is created within the context for a purpose of its own."""
        before, self._purpose = self._purpose, name
        try:
            yield
        finally:
            self._purpose = before

    def _watch(self, model: nn.Module) -> None:
        """Note which part of the model runs, and which weights belong to it."""
        parts: list[tuple[str, nn.Module]] = [("ends", model)]
        for segment in (module for module in model.modules() if isinstance(module, Segment)):
            named = (
                ("local", segment.local),
                ("cross", segment.read),
                ("cross", segment.write),
                ("global", segment.mix),
            )
            parts += [(place, part) for place, part in named if part is not None]
        for place, part in parts:
            for parameter in part.parameters():
                self._place_of[parameter.untyped_storage()] = place
                self._held[parameter.untyped_storage()] = None
            if place != "ends":
                part.register_forward_pre_hook(partial(self._enter, place))
                part.register_forward_hook(self._leave, always_call=True)
        for parameter in model.parameters():
            parameter.register_post_accumulate_grad_hook(self._is_gradient)  # type: ignore[no-untyped-call]

    def _enter(self, place: str, *_: object) -> None:
        self._places.append(place)

    def _leave(self, *_: object) -> None:
        self._places.pop()

    def _is_gradient(self, parameter: Tensor) -> None:
        assert parameter.grad is not None
        held = self._held.get(parameter.grad.untyped_storage())
        gradients = PURPOSES.index("gradients")
        if held is not None and held.purpose != gradients:
            self._live[held.purpose, held.size] -= held.factor
            held.purpose = gradients
            self._live[held.purpose, held.size] += held.factor

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        outputs = [value for value in tree_leaves(out) if isinstance(value, Tensor)]
        if not outputs:
            return out
        packet = func._overloadpacket
        inputs = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
        workspace = self._count_operations(packet, args, kwargs, out, inputs)
        created = [size for tensor in outputs if (size := self._hold(tensor.untyped_storage())) is not None]
        self._follow({self._sizes.split(tensor.numel())[0] for tensor in (*inputs, *outputs)}, created)
        if (created or workspace) and self._part is None:
            line = self._live.copy()
            if workspace:
                size, factor = self._sizes.split(workspace)
                line[PURPOSES.index("workspace"), size] += factor
            self.lines.append(line)
        return out

    def _follow(self, touched: set[Size], created: list[Size]) -> None:
        """Note which part in between the operation belongs to. Those on weights belong to the part before."""
        if any(size in ALL_GROUPS for size in created):
            self._part = None
        elif between := touched & IN_BETWEEN:
            self._part = min(between)
        elif touched & (ALL_GROUPS | {Size.HANDFUL}):
            self._part = None

    def _count_operations(self, packet: Any, args: Any, kwargs: Any, out: Any, inputs: list[Tensor]) -> int:
        """Count the operations of a call; return the bytes of the workspace that it takes on a GPU."""
        if packet.__name__.startswith(ATTENTION):
            is_backward = packet.__name__.endswith("backward")
            query, key = args[1:3] if is_backward else args[:2]
            mask = kwargs.get("attn_mask")
            each = query.numel() * (10 if is_backward else 4)
            if mask is None or mask.shape[-2] > 1:
                self._add_operations("attention", each * key.shape[-2], inputs)
            else:
                # A mask of one row stands for causal strips: their queries compute half of the keys and half a strip.
                self._add_operations("attention", each * key.shape[-2] // 2, inputs)
                self._add_operations("attention", each * STRIP // 2, inputs)
            return 4 * query.numel() if is_backward else 0
        if packet in flop_registry:
            self._add_operations("product", flop_registry[packet](*args, **kwargs, out_val=out), inputs)
        return 0

    def _add_operations(self, kind: Kind, count: int, inputs: list[Tensor]) -> None:
        size, factor = self._sizes.split(count)
        self.flops[self._place(inputs), kind][size] += factor

    def _place(self, inputs: list[Tensor]) -> str:
        """Return the part of the model that runs; in a backward pass, that which an input comes from."""
        if self._places:
            return self._places[-1]
        found = (self._place_of.get(tensor.untyped_storage()) for tensor in inputs)
        return next((place for place in found if place is not None), "ends")

    def _hold(self, storage: Any) -> Size | None:
        """Count a storage until it is released; return its size, or None if it is counted already."""
        if storage in self._held:
            return None
        size, factor = self._sizes.split(storage.nbytes())
        in_backward = torch._C._current_graph_task_id() != -1
        if size is Size.ONE and self._part is not None and not in_backward:
            # Each handful may keep such a thing; what a backward pass adds up, it adds up once.
            size = HANDFULS.get(self._part, size)
        place = self._places[-1] if self._places else None if in_backward else "ends"
        if place is not None:
            self._place_of[storage] = place
        purpose = self._purpose or ("backward pass" if place is None else PLACES[place])
        held = _Held(PURPOSES.index(purpose), size, factor)
        self._held[storage] = held
        self._live[held.purpose, size] += factor
        weakref.finalize(storage, self._release, held)
        return size

    def _release(self, held: _Held) -> None:
        self._live[held.purpose, held.size] -= held.factor
