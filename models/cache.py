"""Store the keys and values of a growing sequence, so that none of them is computed twice."""

from __future__ import annotations

from torch import Tensor


class KeyValues:
    """A KV cache that is allocated once for the longest sequence.

    Args:
        batch: Number of sequences.
        heads: Attention heads.
        room: Positions in the longest sequence.
        width: Width of a head.
        like: Tensor with the dtype and device of the cache.

    Attributes:
        keys, values: Storage [b h room e]; only the first `length` positions hold values.
        length: Number of positions stored so far.
    """

    def __init__(self, batch: int, heads: int, room: int, width: int, like: Tensor) -> None:
        self.keys = like.new_empty(batch, heads, room, width)
        self.values = like.new_empty(batch, heads, room, width)
        self.length = 0

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Append keys and values [b h t e]; return all keys and all values so far [b h length e].

        Raises:
            ValueError: The sequence becomes longer than the cache.
        """
        start, end = self.length, self.length + keys.shape[2]
        if end > self.keys.shape[2]:
            raise ValueError(f"{end} keys do not fit in a cache for {self.keys.shape[2]}; make the cache larger")
        self.keys[:, :, start:end] = keys
        self.values[:, :, start:end] = values
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def clear(self) -> None:
        """Empty the cache and keep its memory."""
        self.length = 0
