"""Keys and values of a sequence that grows, so that nothing in it is computed twice."""

from __future__ import annotations

from torch import Tensor


class KeyValues:
    """What has been attended to so far, with room for all that will come.

    Args:
        batch, heads, room, width: Sequences, heads, the longest that a sequence gets, and the width of a head.
        like: Gives dtype and device.

    Attributes:
        length: How much of the room is taken.
    """

    def __init__(self, batch: int, heads: int, room: int, width: int, like: Tensor) -> None:
        self.keys = like.new_empty(batch, heads, room, width)
        self.values = like.new_empty(batch, heads, room, width)
        self.length = 0

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add keys and values [b h t e] at the end -> all of them [b h length e].

        Raises:
            ValueError: There is no room left.
        """
        start, end = self.length, self.length + keys.shape[2]
        if end > self.keys.shape[2]:
            raise ValueError(f"{end} keys in a cache for {self.keys.shape[2]}")
        self.keys[:, :, start:end] = keys
        self.values[:, :, start:end] = values
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def clear(self) -> None:
        """Forget everything, and keep the room."""
        self.length = 0
