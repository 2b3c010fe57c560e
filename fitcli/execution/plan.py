"""Describes how a training step is executed, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch

from fitcli.streaming.token_store import TokenStore, open_store

Kind = Literal["plain", "layers", "recompute", "stream"]
GlobalLayers = Literal["keep", "selective", "attention", "checkpoint", "rerun"]
Store = Literal["device", "host", "disk"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecutionPlan:
    """An execution of a training step, and its trade-off between memory and time.

    Attributes:
        kind: "plain" runs one forward pass and keeps all activations. "layers" keeps the inputs of every layer.
            "recompute" keeps the tokens at segment boundaries and replays a handful of groups at a time in the backward
            pass. "stream" does the same, but moves the tokens to a store: no memory of the device grows with them.
        handful: Groups that are computed together by "recompute" and "stream".
        keep: Fraction of the handfuls whose activations "recompute" keeps, so that it need not replay them.
        selective: Keep only the matrix products and the attention of those handfuls; norms, activation functions and
            casts run again.
        global_layers: Activations of `mix` that are kept until its backward pass, from most memory and speed to least:
            "keep" everything; "selective" matrix products and attention; "attention" the inputs of its layers and the
            results of attention; "checkpoint" the inputs of its layers; "rerun" nothing ("stream" alone): `mix` runs
            again.
        store: Place of the tokens that "stream" stores.
        calls: Least number of handfuls; empty ones are appended. Processes that shard the weights of a model have to
            call its layers equally often. 0 without sharding.
        shapes: Least number of shapes of the groups of a handful, see `RealTokens`; empty ones are added, for the same
            reason. 0 without sharding.

    Raises:
        ValueError: A value is unknown, out of range, or does not go with the kind.
    """

    kind: Kind = "plain"
    handful: int = 16
    keep: float = 0.0
    selective: bool = False
    global_layers: GlobalLayers = "keep"
    store: Store = "host"
    calls: int = 0
    shapes: int = 0

    def __post_init__(self) -> None:
        _one_of("kind", self.kind, get_args(Kind))
        _one_of("global_layers", self.global_layers, get_args(GlobalLayers))
        _one_of("store", self.store, get_args(Store))
        if self.handful < 1:
            raise ValueError(f"handful must be at least one group, not {self.handful}")
        if not 0 <= self.keep <= 1:
            raise ValueError(f"keep must lie in [0, 1], not {self.keep}")
        if self.global_layers == "rerun" and self.kind != "stream":
            raise ValueError('global_layers "rerun" needs the kind "stream"')

    @property
    def in_handfuls(self) -> bool:
        """Whether a handful of groups is computed at a time, rather than all groups at once."""
        return self.kind in ("recompute", "stream")

    @property
    def shardable(self) -> bool:
        """Whether the plan can run layers of sharded weights, which are gathered in every call.

        A plan that keeps selected operations cannot: the gathering would be among the operations that run again. A
        streamed plan cannot either: it runs many backward passes, and would gather and reduce in each of them.
        """
        return self.kind != "stream" and self.compilable

    @property
    def compilable(self) -> bool:
        """Whether the plan can run compiled layers. One that keeps selected operations has to see each operation."""
        return not self.selective and self.global_layers not in ("selective", "attention")

    def slices(self, count: int, largest: int | None = None) -> list[slice]:
        """Cut `count` groups into handfuls. Kinds that compute all groups at once have one handful.

        Args:
            count: Number of groups.
            largest: Most groups in one handful, see `job.largest_handful`; None for no limit.

        Returns:
            At least `calls` slices, of which the last may be empty, and at least one: a process without groups still
            has to join the others in `mix`.
        """
        handful = self.handful if self.in_handfuls else count
        handful = max(1, min(handful, largest or handful))
        parts = [slice(start, min(start + handful, count)) for start in range(0, count, handful)]
        return parts + [slice(count, count)] * (max(1, self.calls) - len(parts))

    def open_store(self, shape: tuple[int, int, int], dtype: torch.dtype, device: torch.device) -> TokenStore:
        """Open a store for tokens [g n c] that `device` computes: where the plan says, else on the device."""
        return open_store(self.store if self.kind == "stream" else "device", shape, dtype, device)

    def kept(self, handfuls: int) -> int:
        """Return how many of `handfuls` are kept."""
        return round(self.keep * handfuls)


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, not {value!r}")
