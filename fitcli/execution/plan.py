"""How a training step is to be executed: plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal["plain", "layers", "recompute", "stream"]
GlobalLayers = Literal["keep", "selective", "attention", "checkpoint", "rerun"]
Store = Literal["device", "host", "disk"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecutionPlan:
    """Which execution, and its dial between memory and time.

    Attributes:
        kind: "plain": one forward pass that keeps everything. "layers": keeps the inputs of every layer. "recompute":
            keeps the tokens at segment boundaries, and replays a handful of groups at a time in the backward pass.
            "stream": the same, but nothing that grows with the tokens stays on the device: they rest in a store.
        handful: Groups that are computed together, where not all are.
        keep: Share of the handfuls that are not replayed, where the kind is "recompute": their activations are kept.
        selective: Keep only matrix products and attention of those, and recompute norms, activations and casts.
        global_layers: What is kept of `mix` until its backward pass, each less and slower than the one before:
            everything ("keep"); matrix products and attention ("selective"); the inputs of its layers and what
            attention gives ("attention"); the inputs of its layers ("checkpoint"); or, where the kind is "stream",
            nothing: it runs again ("rerun").
        store: Where tokens rest, where the kind is "stream".
        calls: Handfuls that there are at least, the last ones of no groups: processes that share out the weights of a
            model have to call its layers equally often. 0 where nobody does.
    """

    kind: Kind = "plain"
    handful: int = 16
    keep: float = 0.0
    selective: bool = False
    global_layers: GlobalLayers = "keep"
    store: Store = "host"
    calls: int = 0

    def __post_init__(self) -> None:
        _one_of("kind", self.kind, get_args(Kind))
        _one_of("global_layers", self.global_layers, get_args(GlobalLayers))
        _one_of("store", self.store, get_args(Store))
        if self.handful < 1:
            raise ValueError(f"a handful is at least one group, not {self.handful}")
        if not 0 <= self.keep <= 1:
            raise ValueError(f"the share of handfuls to keep lies in [0, 1], not {self.keep}")
        if self.global_layers == "rerun" and self.kind != "stream":
            raise ValueError("only a streamed execution can rerun its global layers")

    @property
    def shardable(self) -> bool:
        """Whether it can run layers whose weights are gathered when they are called.

        Not where selected operations are kept: gathering would be among those that are run again. Nor streamed: a step
        of many backward passes would gather and reduce in each of them.
        """
        return self.kind != "stream" and self.compilable

    @property
    def compilable(self) -> bool:
        """Whether compiled layers can be run: what keeps selected operations has to see each of them."""
        return not self.selective and self.global_layers not in ("selective", "attention")

    def kept(self, handfuls: int) -> int:
        """Of this many handfuls, how many are kept."""
        return round(self.keep * handfuls)


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, not {value!r}")
