"""The operations of models on paper: the buffers that each allocates, keeps and frees.

An operation keeps what PyTorch saves for its derivative. In autocast, matrix products and attention take two bytes per
value; sums, norms and gradients of weights take four.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from fitcli.memory.paper.ledger import Buffer, GradientBytes, Node, Value
from fitcli.memory.paper.tape import Tape

FLOAT = 4
"""Size of a float32 in bytes."""


@dataclass(kw_only=True)
class Operations(Tape):
    """Operations in one precision.

    Attributes:
        low: Bytes per value of the results of matrix products.
        flash_workspace: Whether the backward pass of attention sums the gradient of the queries in float32, as on CUDA.
        cached: Whether casts of weights are cached; otherwise each use makes its own.
    """

    low: int
    flash_workspace: bool = True
    cached: bool = False
    _casts: dict[str, Buffer] = field(default_factory=dict)
    _gradients: dict[str, Buffer] = field(default_factory=dict)

    def linear(self, x: Value, rows: int, fan_in: int, fan_out: int, weight: str, values: int | None = None) -> Value:
        """Multiply x [rows fan_in] by a weight and add a bias; `values` is the number of inputs of a convolution."""
        low, label = self.low, self.label
        values = rows * fan_in if values is None else values
        cast = low < FLOAT and x.size >= FLOAT * values
        kept: Buffer | None = self.make(low * values) if cast else x.buffer
        matrix: Buffer | None = self._cast(weight, fan_in * fan_out)
        cost, count = 2 * rows * fan_in * fan_out, self.counter("product")
        self.save()
        out = self.product_of("product", low * rows * fan_out, cost)
        wanted = x.node is not None

        def rule(gradients: GradientBytes) -> Sequence[Buffer | None]:
            nonlocal kept, matrix
            count(cost * (2 if wanted else 1))
            dx = self.ledger.take(label, low * values) if wanted else None
            made = [self._weight_gradient(low * fan_in * fan_out)]
            kept = matrix = None
            gradients.clear()
            self._keep_gradient(weight, (fan_in + 1) * fan_out, made)
            if cast and dx is not None:
                dx = self.ledger.take(label, FLOAT * values)
            return [dx]

        return self.give(out, [x], rule)

    def norm(self, x: Value, rows: int, width: int, weight: str) -> Value:
        """Apply layer normalisation, in float32."""
        label = self.label
        cast = x.size < FLOAT * rows * width
        kept: list[Buffer] = [self.make(FLOAT * rows * width) if cast else x.buffer]
        out = self.make(FLOAT * rows * width)
        kept.append(self.make(2 * FLOAT * rows))
        self.save()

        def rule(gradients: GradientBytes) -> Sequence[Buffer | None]:
            dx = self.ledger.take(label, FLOAT * rows * width)
            self._keep_gradient(weight, 2 * width, [])
            kept.clear()
            gradients.clear()
            return [self.ledger.take(label, self.low * rows * width) if cast else dx]

        return self.give(out, [x], rule)

    def pointwise(self, x: Value, keeps_result: bool = False) -> Value:
        """Apply a function to each value. Its derivative needs the value, as for gelu, or the result, as for tanh."""
        label, size = self.label, x.size
        if not keeps_result:
            self.save()
        out = self.make(size)
        kept: list[Buffer] = [out if keeps_result else x.buffer]
        if keeps_result:
            self.save()

        def rule(gradients: GradientBytes) -> Sequence[Buffer | None]:
            dx = self.ledger.take(label, size)
            kept.clear()
            return [dx]

        return self.give(out, [x], rule)

    def table(self, size: int, count: int, weight: str) -> Value:
        """Look up rows of a table of `count` values."""

        def rule(gradients: GradientBytes) -> Sequence[Buffer | None]:
            self._keep_gradient(weight, count, [])
            return []

        return self.give(self.make(size), [], rule)

    def copied(self, x: Value) -> Value:
        """Copy the values into another order."""
        label, size = self.label, x.size
        return self.give(self.make(size), [x], lambda gradients: [self.ledger.take(label, size)])

    def gathered(self, x: Value, count: int, ranks: int) -> Value:
        """Gather the `count` values of x of all ranks, in the precision of matrix products."""
        label, size, same = self.label, self.low * count, x.size == self.low * count
        to_device = None if same else self.make(size)
        whole = self.make(ranks * size)
        del to_device

        def rule(gradients: GradientBytes) -> Sequence[Buffer | None]:
            parts = self.ledger.take(label, ranks * size)
            wide = self.ledger.take(label, FLOAT * count)
            del parts
            gradients.clear()
            if same:
                return [wide]
            small = self.ledger.take(label, size)
            del wide
            result = self.ledger.take(label, FLOAT * count)
            del small
            return [result]

        return self.give(whole, [x], rule)

    def shifted(self, x: Value, size: int) -> Value:
        """Add a constant to x."""
        label, before = self.label, x.size
        same = before == size

        def rule(gradients: GradientBytes) -> Sequence[Buffer | None]:
            return [gradients[0] if same else self.ledger.take(label, before)]

        return self.give(self.make(size), [x], rule)

    def total(self, x: Value) -> Value:
        """Sum all values; the gradient is one number."""
        return self.give(self.make(FLOAT), [x], lambda gradients: [gradients[0]])

    def add(self, x: Value, y: Value) -> Value:
        """Add y to x. x is float32, y may be narrower."""
        label = self.label
        out = self.make(x.size)
        narrow = y.size if y.size < x.size else 0

        def rule(gradients: GradientBytes) -> Sequence[Buffer | None]:
            return [gradients[0], self.ledger.take(label, narrow) if narrow else gradients[0]]

        return self.give(out, [x, y], rule)

    def product(self, x: Value, y: Value, size: int) -> Value:
        """Apply a bilinear function to two values."""
        label, sizes = self.label, (x.size, y.size)
        kept: list[Buffer] = [x.buffer, y.buffer]
        self.save()

        def rule(gradients: GradientBytes) -> Sequence[Buffer | None]:
            made = [self.ledger.take(label, each) for each in sizes]
            kept.clear()
            return made

        return self.give(self.make(size), [x, y], rule)

    def split(self, x: Value, sizes: Sequence[int]) -> list[Value]:
        """Split x into views; their gradients are joined into one buffer."""
        label, size = self.label, x.size
        if not self.recording:
            return [Value(x.buffer, size=each) for each in sizes]
        node = Node(self.ledger, [x], lambda gradients: [self.ledger.take(label, size)])
        return [Value(x.buffer, node, slot, each) for slot, each in enumerate(sizes)]

    def joined(self, values: Sequence[Value], size: int) -> Value:
        """Join values into one buffer; their gradients are views of its gradient."""
        count = len(values)
        return self.give(self.make(size), list(values), lambda gradients: [gradients[0]] * count)

    def attention(self, parts: Sequence[Value], rows: int, keys: int, inner: int, heads: int) -> Value:
        """Attend. `parts` is one value with queries, keys and values, or queries, and keys with values."""
        label = self.label
        cost, count = 2 * rows * keys * inner, self.counter("attention")
        # Forward: scores and sums of values. Backward: the scores again and four products.
        out = self.product_of("attention", self.low * rows * inner, 2 * cost)
        kept: list[Buffer] = [
            out,
            self.product_of("attention", FLOAT * heads * rows, 0),
            *(part.buffer for part in parts),
        ]
        sizes = [part.size for part in parts]
        self.save()

        def rule(gradients: GradientBytes) -> Sequence[Buffer | None]:
            count(5 * cost)
            separate: list[Buffer | None] = [self.ledger.take(label, size) for size in sizes]
            if self.flash_workspace:
                self.ledger.take("workspace", FLOAT * rows * inner)
            kept.clear()
            gradients.clear()
            # PyTorch stacks the gradients of keys and values, then copies them into the order of the projection.
            for number in range(len(sizes) - 1, len(sizes)):
                stacked = self.ledger.take(label, sizes[number])
                separate[number] = None
                separate[number] = self.ledger.take(label, sizes[number])
                del stacked
            return separate

        return self.give(out, list(parts), rule)

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
        """Make the first gradient of a weight its buffer; later ones are added to it."""
        made.clear()
        if weight not in self._gradients:
            self._gradients[weight] = self.ledger.take("gradients", FLOAT * count, shared=True)
        elif self.low < FLOAT:
            self.ledger.take("workspace", FLOAT * count, shared=True)
