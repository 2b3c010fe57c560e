"""Components of random graphs, against a plain search."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fitcli.annotations.components import connected_components


@given(st.integers(1, 30), st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=40))
def test_components_of_any_graph(count: int, drawn: list[tuple[int, int]]) -> None:
    links = sorted({(max(pair), min(pair)) for pair in drawn if max(pair) < count and pair[0] != pair[1]})
    lower, upper = (np.array([link[side] for link in links], np.int64) for side in (0, 1))
    number, components = connected_components(count, lower, upper)
    groups = [{node} for node in range(count)]
    for one, other in links:
        joined = groups[one] | groups[other]
        for node in joined:
            groups[node] = joined
    assert [set(np.flatnonzero(number == own).tolist()) for own in number] == groups
    assert set(number.tolist()) == set(range(components))


def test_a_long_chain() -> None:
    nodes = np.arange(1, 100_000)
    number, components = connected_components(100_000, nodes, nodes - 1)
    assert components == 1
    assert not number.any()
