"""A table of what a step takes, for any number of groups: the result of one dry run.

What is live after an operation is a sum of multiples of sizes: a line. The peak is the highest line. Most lines are
never the highest, so a table holds a few dozen of them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from fitcli.memory.meter import PURPOSES, Meter
from fitcli.memory.sizes import Size

OPTIONAL = ("stored tokens", "workspace")
"""Purposes that do not count on every device: tokens may be stored elsewhere, and only GPUs need the workspace."""

LARGEST_FACTOR = 2**52
"""Limit of a factor in a file: floats represent integers exactly up to it."""


class Peak(NamedTuple):
    """The memory of a step of certain sizes.

    Attributes:
        parts: Bytes at the peak, by purpose.
        stored_bytes: Largest size of the stored tokens.
    """

    parts: dict[str, int]
    stored_bytes: int


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """What a step takes.

    Attributes:
        lines: Bytes after an operation, as multiples of sizes, [lines purposes sizes].
        flops: Operations by "part of the model, kind", as multiples of sizes, [sizes].
    """

    lines: NDArray[np.float64]
    flops: dict[str, NDArray[np.float64]]

    @classmethod
    def of(cls, meter: Meter, typical: NDArray[np.float64]) -> Self:
        """Return the table of a dry run: the lines that are the highest for any of the typical sizes, [steps sizes]."""
        lines = np.stack(meter.lines).astype(np.float64)
        highest: set[int] = {int(lines[:, PURPOSES.index("stored tokens")].sum(axis=1).argmax())}
        for without in (dict(zip(OPTIONAL, flags, strict=True)) for flags in product((False, True), repeat=2)):
            counted = [number for number, name in enumerate(PURPOSES) if not without.get(name)]
            highest |= set((lines[:, counted].sum(axis=1) @ typical.T).argmax(axis=0).tolist())
        flops = {f"{place}, {kind}": factors for (place, kind), factors in meter.flops.items()}
        return cls(lines[sorted(highest)], flops)

    def peak(self, sizes: NDArray[np.float64], without: Collection[str] = ()) -> Peak:
        """Return the memory for some sizes.

        Args:
            sizes: Value of each `Size`, [sizes].
            without: Purposes that do not count.
        """
        held = self.lines @ sizes  # [lines purposes]
        counted = np.array([name not in without for name in PURPOSES])
        highest = held[(held * counted).sum(axis=1).argmax()]
        parts = {
            name: round(size) for name, size, counts in zip(PURPOSES, highest.tolist(), counted, strict=True) if counts
        }
        return Peak(parts, round(float(held[:, PURPOSES.index("stored tokens")].max())))

    def operations(self, sizes: NDArray[np.float64]) -> dict[str, int]:
        """Return the operations of matrix products and attention for some sizes, by part of the model and kind."""
        return {name: round(float(factors @ sizes)) for name, factors in self.flops.items()}

    def to_document(self) -> dict[str, Any]:
        """Return the table as JSON data."""
        lines = [
            [[int(p), int(s), int(line[p, s])] for p, s in zip(*line.nonzero(), strict=True)] for line in self.lines
        ]
        return {"lines": lines, "flops": {name: factors.tolist() for name, factors in self.flops.items()}}

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Self:
        """Rebuild a table from the result of `to_document`.

        Raises:
            ValueError, KeyError, TypeError, IndexError, OverflowError: It is no such result.
        """
        lines = np.zeros((len(document["lines"]), len(PURPOSES), len(Size)))
        for line, entries in zip(lines, document["lines"], strict=True):
            for purpose, size, factor in entries:
                if min(purpose, size) < 0:
                    raise ValueError("a number of no purpose or size")
                line[purpose, size] = factor
        flops = {str(name): np.array(factors, np.float64) for name, factors in document["flops"].items()}
        if any(factors.shape != (len(Size),) for factors in flops.values()):
            raise ValueError("a table of other sizes")
        values = np.concatenate([lines.ravel(), *flops.values()])
        if not ((values >= 0) & (values < LARGEST_FACTOR) & (values == np.floor(values))).all():
            raise ValueError("factors that no model has")
        # Every operation of a step leaves something, and every model has matrix products.
        if not lines.any(axis=(1, 2)).all() or not any(factors.any() for factors in flops.values()) or not len(lines):
            raise ValueError("a table of no step")
        return cls(lines, flops)
