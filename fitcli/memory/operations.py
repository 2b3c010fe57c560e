"""The operations that models are made of, as entries of a `Ledger`: what each takes, keeps and gives back.

What is kept follows from the derivative of each operation, as PyTorch saves it. In autocast, matrix products and
attention are in two bytes; sums, norms and gradients of weights in four.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from fitcli.memory.ledger import Buffer, Gradients, Ledger, Node, Value, backward

FLOAT = 4
"""Bytes of a float32."""

Product = Literal["product", "attention"]
"""What a checkpoint may keep."""


@dataclass
class _Replay:
    """What is done again: `stash` has the results of `products`, `left` is how often something is yet to be saved."""

    stash: list[Buffer]
    products: Collection[Product]
    left: int


@dataclass
class Operations:
    """Operations in one precision.

    Attributes:
        ledger: Where they are entered.
        low: Bytes of the results of matrix products.
        flash_workspace: The backward pass of attention sums the gradient of the queries in float32, as on CUDA.
        cached: Casts of weights are made once and stay; otherwise each use makes its own.
        label: Of the buffers that operations make.
        recording: Whether there will be a backward pass.
        flops: Operations of matrix products and attention so far, by (place, "products" or "attention").
        place: In the model, of what is being computed.
    """

    ledger: Ledger
    low: int
    flash_workspace: bool = True
    cached: bool = False
    label: str = "activations"
    recording: bool = True
    flops: Counter[tuple[str, Product]] = field(default_factory=Counter)
    place: str = ""
    _casts: dict[str, Buffer] = field(default_factory=dict)
    _gradients: dict[str, Buffer] = field(default_factory=dict)
    _saved: int = 0
    _stash: tuple[list[Buffer], Collection[Product]] | None = None
    _replay: _Replay | None = None

    @contextmanager
    def labelled(self, label: str) -> Iterator[None]:
        """What is made within has this label."""
        before, self.label = self.label, label
        yield
        self.label = before

    @contextmanager
    def at(self, place: str) -> Iterator[None]:
        """What is computed within belongs to this place of the model."""
        before, self.place = self.place, place
        yield
        self.place = before

    @contextmanager
    def recorded(self, recording: bool) -> Iterator[None]:
        """With or without a tape."""
        before, self.recording = self.recording, recording
        yield
        self.recording = before

    def make(self, size: int) -> Buffer:
        """A new buffer; an empty one where a replay has no need of it."""
        if self._replay is not None and self._replay.left == 0:
            return Buffer(self.ledger, self.label, size, times=0)
        return self.ledger.take(self.label, size)

    def save(self) -> None:
        """Something was kept for the backward pass. A replay computes nothing after the last time."""
        self._saved += 1
        if self._replay is not None:
            self._replay.left -= 1

    def give(
        self, buffer: Buffer, inputs: Sequence[Value], rule: Callable[[Gradients], Sequence[Buffer | None]]
    ) -> Value:
        """The result of an operation, on the tape where one is wanted."""
        return Value(buffer, Node(self.ledger, inputs, rule)) if self.recording else Value(buffer)

    def linear(self, x: Value, rows: int, fan_in: int, fan_out: int, weight: str) -> Value:
        """x [rows fan_in] times a weight, plus a bias."""
        low, label = self.low, self.label
        cast = low < FLOAT and x.size >= FLOAT * rows * fan_in
        kept: Buffer | None = self.make(low * rows * fan_in) if cast else x.buffer
        matrix: Buffer | None = self._cast(weight, fan_in * fan_out)
        cost, count = 2 * rows * fan_in * fan_out, self._counter("product")
        self.save()
        out = self._product("product", low * rows * fan_out, cost)
        wanted = x.node is not None

        def rule(gradients: Gradients) -> Sequence[Buffer | None]:
            nonlocal kept, matrix
            count(cost * (2 if wanted else 1))
            dx = self.ledger.take(label, low * rows * fan_in) if wanted else None
            made = [self._weight_gradient(low * fan_in * fan_out)]
            kept = matrix = None
            gradients.clear()
            self._keep_gradient(weight, (fan_in + 1) * fan_out, made)
            if cast and dx is not None:
                dx = self.ledger.take(label, FLOAT * rows * fan_in)
            return [dx]

        return self.give(out, [x], rule)

    def norm(self, x: Value, rows: int, width: int, weight: str) -> Value:
        """Layer normalisation, in float32."""
        label = self.label
        cast = x.size < FLOAT * rows * width
        kept: list[Buffer] = [self.make(FLOAT * rows * width) if cast else x.buffer]
        out = self.make(FLOAT * rows * width)
        kept.append(self.make(2 * FLOAT * rows))
        self.save()

        def rule(gradients: Gradients) -> Sequence[Buffer | None]:
            dx = self.ledger.take(label, FLOAT * rows * width)
            self._keep_gradient(weight, 2 * width, [])
            kept.clear()
            gradients.clear()
            return [self.ledger.take(label, self.low * rows * width) if cast else dx]

        return self.give(out, [x], rule)

    def pointwise(self, x: Value, keeps_result: bool = False) -> Value:
        """A function of each value; its derivative needs the value, like that of gelu, or the result, like tanh."""
        label, size = self.label, x.size
        if not keeps_result:
            self.save()
        out = self.make(size)
        kept: list[Buffer] = [out if keeps_result else x.buffer]
        if keeps_result:
            self.save()

        def rule(gradients: Gradients) -> Sequence[Buffer | None]:
            dx = self.ledger.take(label, size)
            kept.clear()
            return [dx]

        return self.give(out, [x], rule)

    def table(self, size: int, count: int, weight: str) -> Value:
        """Rows of a table of `count` values."""

        def rule(gradients: Gradients) -> Sequence[Buffer | None]:
            self._keep_gradient(weight, count, [])
            return []

        return self.give(self.make(size), [], rule)

    def copied(self, x: Value) -> Value:
        """The same values in another order."""
        label, size = self.label, x.size
        return self.give(self.make(size), [x], lambda gradients: [self.ledger.take(label, size)])

    def shifted(self, x: Value, size: int) -> Value:
        """x plus a constant."""
        label, before = self.label, x.size
        same = before == size

        def rule(gradients: Gradients) -> Sequence[Buffer | None]:
            return [gradients[0] if same else self.ledger.take(label, before)]

        return self.give(self.make(size), [x], rule)

    def total(self, x: Value) -> Value:
        """The sum of all values; its gradient is one number."""
        return self.give(self.make(FLOAT), [x], lambda gradients: [gradients[0]])

    def add(self, x: Value, y: Value) -> Value:
        """x + y, x in float32, y perhaps narrower."""
        label = self.label
        out = self.make(x.size)
        narrow = y.size if y.size < x.size else 0

        def rule(gradients: Gradients) -> Sequence[Buffer | None]:
            return [gradients[0], self.ledger.take(label, narrow) if narrow else gradients[0]]

        return self.give(out, [x, y], rule)

    def product(self, x: Value, y: Value, size: int) -> Value:
        """Something bilinear of two values."""
        label, sizes = self.label, (x.size, y.size)
        kept: list[Buffer] = [x.buffer, y.buffer]
        self.save()

        def rule(gradients: Gradients) -> Sequence[Buffer | None]:
            made = [self.ledger.take(label, each) for each in sizes]
            kept.clear()
            return made

        return self.give(self.make(size), [x, y], rule)

    def split(self, x: Value, sizes: Sequence[int]) -> list[Value]:
        """Views of x; its gradient is put together of theirs."""
        label, size = self.label, x.size
        if not self.recording:
            return [Value(x.buffer, size=each) for each in sizes]
        node = Node(self.ledger, [x], lambda gradients: [self.ledger.take(label, size)])
        return [Value(x.buffer, node, slot, each) for slot, each in enumerate(sizes)]

    def joined(self, values: Sequence[Value], size: int) -> Value:
        """All values behind each other; their gradients are views of its own."""
        count = len(values)
        return self.give(self.make(size), list(values), lambda gradients: [gradients[0]] * count)

    def attention(self, parts: Sequence[Value], rows: int, keys: int, inner: int, heads: int) -> Value:
        """Attention of queries, keys and values that are one value; or of queries, and keys with values."""
        label = self.label
        cost, count = 2 * rows * keys * inner, self._counter("attention")
        # Scores, and sums of values; backward, the scores again and four products.
        out = self._product("attention", self.low * rows * inner, 2 * cost)
        kept: list[Buffer] = [
            out,
            self._product("attention", FLOAT * heads * rows, 0),
            *(part.buffer for part in parts),
        ]
        sizes = [part.size for part in parts]
        self.save()

        def rule(gradients: Gradients) -> Sequence[Buffer | None]:
            count(5 * cost)
            separate: list[Buffer | None] = [self.ledger.take(label, size) for size in sizes]
            if self.flash_workspace:
                self.ledger.take("workspace", FLOAT * rows * inner)
            kept.clear()
            gradients.clear()
            # Gradients of keys and values are stacked, then copied into the order of the projection.
            for number in range(len(sizes) - 1, len(sizes)):
                stacked = self.ledger.take(label, sizes[number])
                separate[number] = None
                separate[number] = self.ledger.take(label, sizes[number])
                del stacked
            return separate

        return self.give(out, list(parts), rule)

    def checkpoint(
        self,
        function: Callable[..., Sequence[Value | None]],
        arguments: Sequence[Value | None],
        products: Collection[Product] = (),
    ) -> list[Value | None]:
        """Call a function and keep its arguments and some results; the backward pass calls it again."""
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

        def rule(gradients: Gradients) -> Sequence[Buffer | None]:
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

    def _product(self, kind: Product, size: int, cost: int) -> Buffer:
        """What a product or attention gives: made, or there already from the first time."""
        if self._replay is not None and kind in self._replay.products:
            return self._replay.stash.pop(0)
        if self._replay is None or self._replay.left > 0:
            self._counter(kind)(cost)
        made = self.make(size)
        if self._stash is not None and kind in self._stash[1]:
            self._stash[0].append(made)
        return made

    def _counter(self, kind: Product) -> Callable[[int], None]:
        """Adds operations to those of this place, as often as this is repeated."""
        place, times = self.place, self.ledger.times

        def count(cost: int) -> None:
            self.flops[place, kind] += cost * times

        return count

    def _cast(self, weight: str, size: int) -> Buffer | None:
        if self.low == FLOAT:
            return None
        if self.cached and weight in self._casts:
            return self._casts[weight]
        made = self.ledger.take("casts of weights", self.low * size, shared=self.cached)
        if self.cached:
            self._casts[weight] = made
        return made

    def _weight_gradient(self, size: int) -> Buffer:
        return self.ledger.take("workspace", size, shared=True)

    def _keep_gradient(self, weight: str, count: int, made: list[Buffer]) -> None:
        """What was made becomes the gradient of a weight, where it is the first; later ones are added to it."""
        made.clear()
        if weight not in self._gradients:
            self._gradients[weight] = self.ledger.take("gradients", FLOAT * count, shared=True)
        elif self.low < FLOAT:
            self.ledger.take("workspace", FLOAT * count, shared=True)
