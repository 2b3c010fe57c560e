"""Counts the buffers of a step on paper, and runs its backward pass: the arithmetic twin of autograd.

A buffer is a number of bytes with a label; like a tensor, it lives as long as something refers to it. A loop over
handfuls is run for the first handful, for all in between at once, and for the last, so that a step over millions of
tokens takes milliseconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager


class Ledger:
    """Counts live bytes by label, and their peak.

    Attributes:
        times: Number of handfuls that present entries stand for, see `repeated`.
        peak: Highest number of live bytes.
        at_peak: Live bytes by label at the peak.
    """

    def __init__(self) -> None:
        self._held: Counter[str] = Counter()
        self._total = 0
        self.times = 1
        self.peak = 0
        self.at_peak: dict[str, int] = {}

    def take(self, label: str, size: int, shared: bool = False) -> Buffer:
        """Allocate a buffer.

        Args:
            label: Purpose of the bytes.
            size: Bytes of one handful.
            shared: Whether all handfuls share the buffer.
        """
        return Buffer(self, label, size, 1 if shared else self.times)

    @contextmanager
    def repeated(self, times: int) -> Iterator[None]:
        """Let operations within the context stand for `times` handfuls. They do not count for the peak."""
        before, self.times = self.times, times
        try:
            yield
        finally:
            self.times = before

    def add(self, label: str, size: int) -> None:
        """Add bytes to a label; a negative size removes them."""
        self._held[label] += size
        self._total += size
        if self._total > self.peak and self.times == 1:
            self.peak, self.at_peak = self._total, {name: held for name, held in self._held.items() if held}


class Buffer:
    """Bytes that are live as long as something refers to this object."""

    __slots__ = ("_held", "_label", "_ledger", "size")

    def __init__(self, ledger: Ledger, label: str, size: int, times: int = 1) -> None:
        self._ledger, self._label, self._held, self.size = ledger, label, size * times, size
        ledger.add(label, self._held)

    def __del__(self) -> None:
        self._ledger.add(self._label, -self._held)


class Value:
    """The result of an operation: a buffer or a part of one, and its place in the graph.

    Attributes:
        buffer: Buffer that holds the value.
        size: Bytes of the value, fewer than those of the buffer if it is a view.
        node: Operation whose result it is; None if it needs no gradient.
        slot: Number of the result among those of the operation.
    """

    __slots__ = ("buffer", "node", "size", "slot")

    def __init__(self, buffer: Buffer, node: Node | None = None, slot: int = 0, size: int | None = None) -> None:
        self.buffer, self.node, self.slot = buffer, node, slot
        self.size = buffer.size if size is None else size


GradientBytes = dict[int, Buffer]
"""Gradients of the results of an operation, by slot."""

Rule = Callable[[GradientBytes], Sequence[Buffer | None]]
"""Computes the gradients of the inputs of an operation from those of its results."""


class Node:
    """An operation in the graph; a leaf if it has no rule.

    Attributes:
        inputs: (node, slot) of each input; the node is None for an input that needs no gradient.
        rule: Backward pass of the operation, which keeps its saved buffers alive; None after it has run.
        ledger: Ledger of its buffers.
        times: Number of handfuls that the operation stands for.
        number: Position in the forward pass.
    """

    __slots__ = ("inputs", "ledger", "number", "rule", "times")

    count = 0

    def __init__(self, ledger: Ledger, inputs: Sequence[Value] = (), rule: Rule | None = None) -> None:
        self.inputs = [(value.node, value.slot) for value in inputs]
        self.rule, self.ledger, self.times = rule, ledger, ledger.times
        Node.count += 1
        self.number = Node.count


def backward(roots: list[tuple[Value | None, Buffer | None]]) -> dict[Node | None, Buffer]:
    """Run the backward pass, the latest operations first, as autograd does.

    Args:
        roots: Values with their gradients; pairs with a None are ignored. The list is emptied, so that it keeps no
            buffers alive.

    Returns:
        Gradients by leaf.
    """
    waiting: dict[Node, GradientBytes] = {}
    leaves: dict[Node | None, Buffer] = {}
    while roots:
        value, gradient = roots.pop()
        if value is not None and value.node is not None and gradient is not None:
            # Further gradients are added in place to the first, and take no buffer.
            waiting.setdefault(value.node, {}).setdefault(value.slot, gradient)
    del value, gradient
    while waiting:
        node = max(waiting, key=lambda node: node.number)
        gradients = waiting.pop(node)
        if node.rule is None:
            leaves[node] = gradients[0]
            continue
        rule, node.rule = node.rule, None
        with node.ledger.repeated(node.times):
            given = list(rule(gradients))
        del rule, gradients
        targets, node.inputs = node.inputs, []
        while given:
            made, (target, slot) = given.pop(), targets.pop()
            if target is not None and made is not None:
                waiting.setdefault(target, {}).setdefault(slot, made)
        made = None
    return leaves
