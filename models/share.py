"""Which part of a batch of images one of several ranks computes: a run of the groups of every image.

Nothing here knows how ranks talk to each other: whoever makes a share says how their values are gathered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

if TYPE_CHECKING:
    from models.groups import Groups

Gather = Callable[[Tensor], Tensor]
"""Values [...] of this rank to those of all ranks [ranks ...], in their order.

All ranks call it equally often, in the same order, with values of one shape. Differentiable: the gradient of what a
rank gave is the sum of those that all ranks have for it.
"""


class Share(NamedTuple):
    """What a rank knows of the groups that others compute.

    Attributes:
        rank: Of this share, from 0.
        ranks: That share the images.
        gather: How values of all ranks come together.
        whole: The groups of all ranks, in the order of one process.
        present: [images (ranks places)] bool, True where the arrangement of all ranks holds a group; None where it
            does everywhere.
    """

    rank: int
    ranks: int
    gather: Gather
    whole: Groups
    present: Tensor | None

    def map_tensors(self, move: Callable[[Tensor], Tensor]) -> Share:
        """The same with what `move` makes of every tensor."""
        present = None if self.present is None else move(self.present)
        return self._replace(whole=self.whole.map_tensors(move), present=present)


def span(count: int, rank: int, ranks: int) -> slice:
    """The run of `count` groups of an image that a rank computes: lengths differ by one at most, longer ones first."""
    length, longer = divmod(count, ranks)
    start = rank * length + min(rank, longer)
    return slice(start, start + length + (rank < longer))
