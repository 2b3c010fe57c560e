"""A step on paper: buffers that come and go, and a tape of operations that keep some of them for a backward pass.

The arithmetic twin of autograd. A buffer is a number of bytes with a label; it lives for as long as something holds it,
as a tensor does. What is repeated for each handful is done for the first, for all in between at once, and for the last,
so that a step over millions of tokens takes milliseconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager


class Ledger:
    """Bytes that are held, by label, and the most that ever were.

    Attributes:
        times: How often what is entered now happens, see `repeated`.
        peak: The most bytes.
        at_peak: Bytes by label at that moment.
    """

    def __init__(self) -> None:
        self._held: Counter[str] = Counter()
        self._total = 0
        self.times = 1
        self.peak = 0
        self.at_peak: dict[str, int] = {}

    def take(self, label: str, size: int, shared: bool = False) -> Buffer:
        """Hold bytes.

        Args:
            label: What for.
            size: Bytes, of one handful.
            shared: All handfuls share it.
        """
        return Buffer(self, label, size, 1 if shared else self.times)

    @contextmanager
    def repeated(self, times: int) -> Iterator[None]:
        """What happens within happens so many times, between a first and a last time: nothing there is the most."""
        before, self.times = self.times, times
        try:
            yield
        finally:
            self.times = before

    def add(self, label: str, size: int) -> None:
        """Count bytes in, or out where negative."""
        self._held[label] += size
        self._total += size
        if self._total > self.peak and self.times == 1:
            self.peak, self.at_peak = self._total, {name: held for name, held in self._held.items() if held}


class Buffer:
    """Bytes that are held until the last reference to this is gone."""

    __slots__ = ("_held", "_label", "_ledger", "size")

    def __init__(self, ledger: Ledger, label: str, size: int, times: int = 1) -> None:
        self._ledger, self._label, self._held, self.size = ledger, label, size * times, size
        ledger.add(label, self._held)

    def __del__(self) -> None:
        self._ledger.add(self._label, -self._held)


class Value:
    """What an operation gives: a buffer or a part of one, and where its gradient goes.

    Attributes:
        buffer: What holds it.
        size: Bytes of the value, fewer than those of the buffer where it is a view.
        node, slot: The operation, and which of its results this is; None where nobody wants a gradient.
    """

    __slots__ = ("buffer", "node", "size", "slot")

    def __init__(self, buffer: Buffer, node: Node | None = None, slot: int = 0, size: int | None = None) -> None:
        self.buffer, self.node, self.slot = buffer, node, slot
        self.size = buffer.size if size is None else size


GradientBytes = dict[int, Buffer]
"""Of the values that an operation gave, by their slot."""

Rule = Callable[[GradientBytes], Sequence[Buffer | None]]
"""From the gradients of what an operation gave to those of its inputs."""


class Node:
    """An operation on the tape; a leaf, where it has no rule.

    Attributes:
        inputs: What went in, without its bytes; None where nobody wants a gradient.
        rule: Holds what the operation keeps for its backward pass; gone once that has run.
        ledger, times: Where it is entered, and how often it happens.
        number: In the order of the forward pass.
    """

    __slots__ = ("inputs", "ledger", "number", "rule", "times")

    count = 0

    def __init__(self, ledger: Ledger, inputs: Sequence[Value] = (), rule: Rule | None = None) -> None:
        self.inputs = [(value.node, value.slot) for value in inputs]
        self.rule, self.ledger, self.times = rule, ledger, ledger.times
        Node.count += 1
        self.number = Node.count


def backward(roots: list[tuple[Value | None, Buffer | None]]) -> dict[Node | None, Buffer]:
    """Run the tape back; the latest operations first, as autograd does.

    Args:
        roots: Values with their gradients; pairs with a None do not count. Cleared: nothing else shall hold them.

    Returns:
        The gradients of the leaves.
    """
    waiting: dict[Node, GradientBytes] = {}
    leaves: dict[Node | None, Buffer] = {}
    while roots:
        value, gradient = roots.pop()
        if value is not None and value.node is not None and gradient is not None:
            # The first gradient is taken as it is, further ones are added to it in place.
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
