"""Records operations on paper: allocates their buffers, counts them, and replays checkpoints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from fitcli.memory.paper.ledger import Buffer, GradientBytes, Ledger, Node, Value, backward

Product = Literal["product", "attention"]
"""Kind of result that a checkpoint may keep."""


@dataclass
class _Replay:
    """The replay of a checkpoint.

    Attributes:
        stash: Kept results, in the order of the forward pass.
        products: Kinds of results that were kept.
        left: Number of saved buffers until the replay can end.
    """

    stash: list[Buffer]
    products: Collection[Product]
    left: int


@dataclass(kw_only=True)
class Tape:
    """Records operations.

    Attributes:
        ledger: Ledger of the buffers.
        label: Label of new buffers.
        recording: Whether there will be a backward pass.
        flops: Operations of matrix products and attention so far, by (place, "product" or "attention").
        place: Part of the model that is being computed.
    """

    ledger: Ledger
    label: str = "activations"
    recording: bool = True
    flops: Counter[tuple[str, Product]] = field(default_factory=Counter)
    place: str = ""
    _saved: int = 0
    _stash: tuple[list[Buffer], Collection[Product]] | None = None
    _replay: _Replay | None = None

    @contextmanager
    def labelled(self, label: str) -> Iterator[None]:
        """Give buffers within the context a label."""
        before, self.label = self.label, label
        yield
        self.label = before

    @contextmanager
    def at(self, place: str) -> Iterator[None]:
        """Count operations within the context for a part of the model."""
        before, self.place = self.place, place
        yield
        self.place = before

    @contextmanager
    def recorded(self, recording: bool) -> Iterator[None]:
        """Set within the context whether there will be a backward pass."""
        before, self.recording = self.recording, recording
        yield
        self.recording = before

    def make(self, size: int) -> Buffer:
        """Return a new buffer; it counts no bytes if a replay has ended before it."""
        if self._replay is not None and self._replay.left == 0:
            return Buffer(self.ledger, self.label, size, times=0)
        return self.ledger.take(self.label, size)

    def save(self) -> None:
        """Note that a buffer was saved for the backward pass. A replay ends after the last one."""
        self._saved += 1
        if self._replay is not None:
            self._replay.left -= 1

    def give(
        self, buffer: Buffer, inputs: Sequence[Value], rule: Callable[[GradientBytes], Sequence[Buffer | None]]
    ) -> Value:
        """Return the result of an operation, as part of the graph if it is recorded."""
        return Value(buffer, Node(self.ledger, inputs, rule)) if self.recording else Value(buffer)

    def checkpoint(
        self,
        function: Callable[..., Sequence[Value | None]],
        arguments: Sequence[Value | None],
        products: Collection[Product] = (),
    ) -> list[Value | None]:
        """Call a function, and keep its arguments and some results. The backward pass calls it again."""
        if not self.recording:
            return list(function(*arguments))
        stash: list[Buffer] = []
        before = self._saved
        with self.recorded(False), self._stashing(stash, products):
            results = function(*arguments)
        saved = self._saved - before
        label, place = self.label, self.place
        present = [argument for argument in arguments if argument is not None]
        kept = [None if each is None else (each.buffer, each.node is not None, each.size) for each in arguments]

        def rule(gradients: GradientBytes) -> Sequence[Buffer | None]:
            leaves = [None if each is None else self._leaf(*each) for each in kept]
            kept.clear()
            nodes = [each.node for each in leaves if each is not None]
            with (
                self.recorded(True),
                self.labelled(label),
                self.at(place),
                self._replaying(_Replay(stash, products, saved)),
            ):
                again = list(function(*leaves))
            leaves.clear()
            roots = [(value, gradients.pop(slot, None)) for slot, value in enumerate(again)]
            gradients.clear()
            again.clear()
            given = backward(roots)
            return [None if node is None else given.pop(node, None) for node in nodes]

        node = Node(self.ledger, present, rule)
        return [
            None if each is None else Value(each.buffer, node, slot, each.size) for slot, each in enumerate(results)
        ]

    def _leaf(self, buffer: Buffer, wanted: bool, size: int) -> Value:
        return Value(buffer, Node(self.ledger) if wanted else None, size=size)

    @contextmanager
    def _stashing(self, stash: list[Buffer], products: Collection[Product]) -> Iterator[None]:
        before, self._stash = self._stash, (stash, products)
        yield
        self._stash = before

    @contextmanager
    def _replaying(self, replay: _Replay) -> Iterator[None]:
        before, self._replay = self._replay, replay
        yield
        self._replay = before

    def product_of(self, kind: Product, size: int, cost: int) -> Buffer:
        """Return the result of a product or of attention: a new buffer, or in a replay the kept one."""
        if self._replay is not None and kind in self._replay.products:
            return self._replay.stash.pop(0)
        if self._replay is None or self._replay.left > 0:
            self.counter(kind)(cost)
        made = self.make(size)
        if self._stash is not None and kind in self._stash[1]:
            self._stash[0].append(made)
        return made

    def counter(self, kind: Product) -> Callable[[int], None]:
        """Return a function that counts operations for the present part of the model and number of handfuls."""
        place, times = self.place, self.ledger.times

        def count(cost: int) -> None:
            self.flops[place, kind] += cost * times

        return count
