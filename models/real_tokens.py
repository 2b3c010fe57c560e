"""Sort the groups of a handful by their number of real tokens, so that no layer computes padding or needs a mask.

The groups at the edges of an image have fewer patches than the others. Groups with equally many form a dense batch:
the layers that run over tokens run once for each of these shapes, of which an image has at most four.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Shape(NamedTuple):
    """Groups with equally many real tokens.

    Attributes:
        groups: [r] int64, indices of the groups in the list; None for all groups, in order.
        size: Number of the groups, r.
        tokens: Number of real tokens of each, k.
    """

    groups: Tensor | None
    size: int
    tokens: int


@dataclass(frozen=True, slots=True, eq=False)
class RealTokens:
    """The tokens of a list of groups that are no padding.

    Packed values are those of real tokens alone: [g k ...] if all groups have k real tokens, otherwise [1 t ...], the
    tokens of one shape after those of another.

    Attributes:
        shapes: The groups by their number of real tokens, largest first; empty if all tokens of all groups are real.
        place: [g k] or [1 t] int64, index of each packed token among all g * n tokens; None if all are real.
        whole: (g, n): number of groups, and of tokens of a group with padding.
        order: [g] int64, indices of the groups, shape after shape; None if that is their order.
        empty: Number of shapes without groups that come last, so that layers are called more often.
    """

    shapes: tuple[Shape, ...] = ()
    place: Tensor | None = None
    whole: tuple[int, int] = (0, 0)
    order: Tensor | None = None
    empty: int = 0

    @classmethod
    def of(cls, mask: Tensor | None) -> RealTokens:
        """Return the real tokens of groups with a mask [g n], False for padding, in host memory; None for no padding.

        Raises:
            ValueError: A group has no real token.
        """
        if mask is None or bool(mask.all()):
            return WHOLE_GROUPS
        counts = mask.sum(dim=1)
        if not bool(counts.all()):
            raise ValueError(f"group {int(counts.argmin())} of {len(counts)} has no real token")
        order = torch.argsort(counts, descending=True, stable=True)
        group, token = mask[order].nonzero().unbind(dim=1)
        place, whole = order[group] * mask.shape[1] + token, (mask.shape[0], mask.shape[1])
        kinds, lengths = torch.unique_consecutive(counts[order], return_counts=True)
        sizes = list(zip(lengths.tolist(), kinds.tolist(), strict=True))
        if len(sizes) == 1:
            return cls((Shape(None, *sizes[0]),), place.reshape(sizes[0]), whole)
        runs = torch.split(order, lengths.tolist())
        shapes = tuple(Shape(run, *size) for run, size in zip(runs, sizes, strict=True))
        return cls(shapes, place[None], whole, order)

    def with_shapes(self, count: int) -> RealTokens:
        """Return the same tokens in at least `count` shapes, of which the last may be empty."""
        return replace(self, empty=max(0, count - max(1, len(self.shapes))))

    def map_tensors(self, function: Callable[[Tensor], Tensor]) -> RealTokens:
        """Return the same tokens with `function` applied to every tensor."""
        if self.place is None:
            return self
        shapes = tuple(
            shape if shape.groups is None else shape._replace(groups=function(shape.groups)) for shape in self.shapes
        )
        order = None if self.order is None else function(self.order)
        return replace(self, shapes=shapes, place=function(self.place), order=order)

    def to(self, device: torch.device) -> RealTokens:
        """Return the same tokens with all tensors on a device."""
        return self.map_tensors(lambda values: values.to(device))

    def pack(self, values: Tensor) -> Tensor:
        """Select the real tokens of values [g n ...]."""
        if self.place is None:
            return values
        chosen = values.flatten(0, 1).index_select(0, self.place.flatten())
        return chosen.reshape(*self.place.shape, *values.shape[2:])

    def unpack(self, packed: Tensor) -> Tensor:
        """Return to values [g n ...], with zeros for padding; the inverse of `pack`."""
        if self.place is None:
            return packed
        groups, tokens = self.whole
        values = packed.new_zeros(groups * tokens, *packed.shape[2:])
        values = values.index_copy(0, self.place.flatten(), packed.flatten(0, 1))
        return values.reshape(groups, tokens, *packed.shape[2:])

    def per_token(self, values: Tensor) -> Tensor:
        """Return a value per group [g 1 ...] in a form that broadcasts to packed values."""
        if self.order is None:
            return values
        rows = values.index_select(0, self.order)
        parts = torch.split(rows, [shape.size for shape in self.shapes])
        return self.join(
            [part.expand(-1, shape.tokens, *part.shape[2:]) for part, shape in zip(parts, self.shapes, strict=True)]
        )

    def codes(self, table: Tensor) -> Tensor:
        """Return the rows of a table [n c], one per token of a group, in a form that broadcasts to packed values."""
        return table if self.place is None else F.embedding(self.place % self.whole[1], table)

    def split(self, packed: Tensor) -> list[Tensor]:
        """Return packed values as one dense batch [r k ...] per shape."""
        if self.order is None:
            return [packed, *[packed[:0]] * self.empty]
        parts = torch.split(packed[0], [shape.size * shape.tokens for shape in self.shapes])
        dense = [
            part.reshape(shape.size, shape.tokens, *part.shape[1:])
            for part, shape in zip(parts, self.shapes, strict=True)
        ]
        return dense + [dense[-1][:0]] * self.empty

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """Return to packed values; the inverse of `split`."""
        if self.order is None:
            return torch.cat(list(parts)) if self.empty else parts[0]
        return torch.cat([part.flatten(0, 1) for part in parts])[None]

    def select(self, values: Tensor) -> list[Tensor]:
        """Return values of groups [g ...], such as latents, for the groups [r ...] of each shape."""
        sizes = [shape.size for shape in self.shapes] if self.order is not None else [len(values)]
        rows = values if self.order is None else values.index_select(0, self.order)
        return list(torch.split(rows, sizes + [0] * self.empty)) if len(sizes) + self.empty > 1 else [rows]

    def merge(self, parts: Sequence[Tensor]) -> Tensor:
        """Return to values [g ...] in the order of the groups; the inverse of `select`."""
        rows = torch.cat(list(parts)) if len(parts) > 1 else parts[0]
        return rows if self.order is None else rows.index_select(0, self.order.argsort())


WHOLE_GROUPS = RealTokens()
"""Groups without padding, of any number and size: their packed values are the values."""
