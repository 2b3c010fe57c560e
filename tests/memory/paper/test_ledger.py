"""Buffers on paper live as long as something refers to them, and gradients flow back once."""

from __future__ import annotations

from typing import Any

from fitcli.memory.paper.ledger import Ledger, Node, Value, backward


def test_a_buffer_is_live_as_long_as_something_refers_to_it() -> None:
    ledger = Ledger()
    first = ledger.take("a", 100)
    second = ledger.take("b", 10)
    del first
    third = ledger.take("c", 50)
    assert (ledger.peak, ledger.at_peak) == (110, {"a": 100, "b": 10})
    del second, third
    assert ledger.take("d", 110).size == 110
    assert ledger.peak == 110


def test_repeated_buffers_count_as_often() -> None:
    ledger = Ledger()
    with ledger.repeated(7):
        kept = ledger.take("kept", 10)
        shared = ledger.take("shared", 1, shared=True)
    ledger.take("", 0)
    assert ledger.at_peak == {"kept": 70, "shared": 1}
    del kept, shared


def test_gradients_flow_back_once() -> None:
    """Two paths lead to the leaf, which gets one gradient."""
    ledger = Ledger()
    leaf = Value(ledger.take("x", 1), Node(ledger))
    calls = []

    def operation(name: str, *inputs: Value) -> Value:
        def rule(gradients: Any) -> list[Any]:
            calls.append(name)
            return [ledger.take("gradient", 1) for _ in inputs]

        return Value(ledger.take("value", 1), Node(ledger, inputs, rule))

    left, right = operation("left", leaf), operation("right", leaf)
    root = operation("root", left, right)
    leaves = backward([(root, ledger.take("gradient", 1))])
    assert calls == ["root", "right", "left"]
    assert list(leaves) == [leaf.node]
