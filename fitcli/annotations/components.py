"""Finds the connected components of a graph whose links mostly form chains, such as the runs of a class map."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]


def connected_components(count: int, lower: Numbers, upper: Numbers) -> tuple[Numbers, int]:
    """Return the number of the component of each node [count], and the number of components.

    Args:
        count: Number of nodes.
        lower, upper: Links between nodes. `lower` is ascending, and each `upper` is less than its `lower`.
    """
    is_first = np.ones(len(lower), np.bool_)
    np.not_equal(lower[1:], lower[:-1], out=is_first[1:])
    root = np.arange(count)
    root[lower[is_first]] = upper[is_first]
    # The first link of every node makes a forest: the paths to the roots become half as long in each round.
    while not np.array_equal(following := root[root], root):
        root = following
    merged = _merge(root[lower[~is_first]], root[upper[~is_first]])
    if merged:
        representative = np.arange(count)
        representative[list(merged)] = list(merged.values())
        root = representative[root]
    is_root = np.zeros(count, np.bool_)
    is_root[root] = True
    number = np.cumsum(is_root) - 1
    return number[root], int(number[-1]) + 1


def _merge(one: Numbers, other: Numbers) -> dict[int, int]:
    """Merge pairs of roots; return the representative of each root that is not its own."""
    parent: dict[int, int] = {}

    def find(node: int) -> int:
        while (above := parent.get(node, node)) != node:
            # Halves the path for the next search.
            parent[node] = node = parent.get(above, above)
        return node

    is_pair = one != other
    for a, b in zip(one[is_pair].tolist(), other[is_pair].tolist(), strict=True):
        a, b = find(a), find(b)
        if a != b:
            parent[max(a, b)] = min(a, b)
    return {node: find(node) for node in list(parent)}
