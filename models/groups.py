"""The groups of a batch of images as one list, and the way between that list and the images.

Images of one batch may have different numbers of groups: nothing but `mix` and the pooling head ever needs to know
which groups belong together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Self, cast

import torch
from torch import Tensor

Gather = Callable[[Tensor], Tensor]
"""Values [...] of this rank to those of all ranks [ranks ...], in their order.

All ranks call it equally often, in the same order, with values of one shape. Differentiable: the gradient of what a
rank gave is the sum of those that all ranks have for it.
"""


class Groups(NamedTuple):
    """Which groups there are. All groups of an image follow each other, in the order of the images.

    Where several ranks share the images these are the groups of one of them: a run of the groups of each image.

    Attributes:
        coordinates: [g 2] int64, row and column of each group in the grid of its image.
        number: [g] int64, number of each group in its image, counted along the rows of the full grid, or in the
            order of a sequence: the row of the fixed tables.
        mask: [g n] bool, True where a patch holds pixels; None where all do.
        slot: [g] int64, place of each group in the arrangement [images longest]; None where all images have
            `longest` groups, so that the list is that arrangement.
        images: Number of images, b.
        longest: Groups of the image that has most; on each of several ranks, of the rank that has most of it.
        share: What is known of the groups of other ranks; None where these are all.
    """

    coordinates: Tensor
    number: Tensor
    mask: Tensor | None
    slot: Tensor | None
    images: int
    longest: int
    share: RankShare | None = None

    @classmethod
    def of_grid(cls, images: int, rows: int, columns: int, device: torch.device | None = None) -> Self:
        """All groups of `images` equal grids of `rows` x `columns` groups."""
        row, column = torch.meshgrid(
            torch.arange(rows, device=device), torch.arange(columns, device=device), indexing="ij"
        )
        coordinates = torch.stack([row.flatten(), column.flatten()], dim=-1).repeat(images, 1)
        number = torch.arange(rows * columns, device=device).repeat(images)
        return cls(coordinates, number, None, None, images, rows * columns)

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """Put the groups of several batches behind each other.

        Raises:
            ValueError: There are none, or some part is itself inconsistent.
        """
        if not parts:
            raise ValueError("cannot join no groups at all")
        for part in parts:
            part.check()
        counts = [count for part in parts for count in part.counts()]
        longest = max(counts)
        ragged = any(count != longest for count in counts)
        device = parts[0].coordinates.device
        slots = [torch.arange(count, device=device) + image * longest for image, count in enumerate(counts)]
        return cls(
            coordinates=torch.cat([part.coordinates for part in parts]),
            number=torch.cat([part.number for part in parts]),
            mask=_join_masks([part.mask for part in parts], [len(part.number) for part in parts]),
            slot=torch.cat(slots) if ragged else None,
            images=len(counts),
            longest=longest,
        )

    def share_of(self, rank: int, ranks: int, gather: Gather) -> Self:
        """The groups that one of several ranks computes, of these, which are all: see `span`.

        Raises:
            ValueError: There is no such rank, or these are a share already.
        """
        if not 0 <= rank < ranks or self.share is not None:
            raise ValueError(f"rank {rank} of {ranks} has no share of these groups")
        counts, places = self.counts(), -(-self.longest // ranks)
        spans = [[span(count, each, ranks) for each in range(ranks)] for count in counts]
        lengths = [[part.stop - part.start for part in parts] for parts in spans]  # [images ranks]
        taken = torch.arange(places) < torch.tensor(lengths)[..., None]  # [images ranks places]
        device = self.number.device
        starts = [sum(counts[:image]) for image in range(self.images)]
        runs = [parts[rank] for parts in spans]
        index = torch.cat(
            [torch.arange(start + run.start, start + run.stop) for start, run in zip(starts, runs, strict=True)]
        ).to(device)
        even = all(each[rank] == places for each in lengths)
        filled = all(length == places for each in lengths for length in each)
        return self._replace(
            coordinates=self.coordinates[index],
            number=self.number[index],
            mask=None if self.mask is None else self.mask[index],
            slot=None if even else taken[:, rank].flatten().nonzero()[:, 0].to(device),
            longest=places,
            share=RankShare(rank, ranks, gather, self, None if filled else taken.flatten(1).to(device)),
        )

    @property
    def whole(self) -> Self:
        """The groups of all ranks."""
        return self if self.share is None else cast(Self, self.share.whole)

    def counts(self) -> list[int]:
        """Number of groups of each image."""
        if self.slot is None:
            return [self.longest] * self.images
        return torch.bincount(self.slot // self.longest, minlength=self.images).tolist()

    def image_of_group(self) -> Tensor:
        """[g] int64, number of the image that each group belongs to."""
        if self.slot is not None:
            return self.slot // self.longest
        return torch.arange(self.images, device=self.number.device).repeat_interleave(self.longest)

    def check(self, tokens: int | None = None) -> None:
        """Raise ValueError, with the numbers, where the parts of this list disagree with each other.

        Args:
            tokens: Tokens per group, to check the mask against.
        """
        count = len(self.number)
        if self.coordinates.shape != (count, 2):
            raise ValueError(f"{count} groups need coordinates [{count} 2], not {list(self.coordinates.shape)}")
        if self.slot is None and count != self.images * self.longest:
            raise ValueError(f"{self.images} images of {self.longest} groups are not a list of {count} groups")
        if self.slot is not None and self.slot.shape != (count,):
            raise ValueError(f"{count} groups need {count} slots, not {list(self.slot.shape)}")
        if self.mask is not None and self.mask.shape != (count, tokens or self.mask.shape[-1]):
            raise ValueError(f"{count} groups of {tokens} tokens cannot have a mask {list(self.mask.shape)}")

    def check_values(self, values: Tensor, tokens: int) -> None:
        """Raise ValueError, with the numbers, unless `values` [g n ...] hold `tokens` for each group of this list."""
        self.check(tokens)
        count = len(self.number)
        if values.shape[:2] != (count, tokens):
            raise ValueError(f"{count} groups of {tokens} tokens cannot have values {list(values.shape)}")

    def to(self, device: torch.device) -> Self:
        """The same on another device."""
        return self.map_tensors(lambda values: values.to(device))

    def map_tensors(self, move: Callable[[Tensor], Tensor]) -> Self:
        """The same with what `move` makes of every tensor: a copy of it elsewhere."""
        return self._replace(
            coordinates=move(self.coordinates),
            number=move(self.number),
            mask=None if self.mask is None else move(self.mask),
            slot=None if self.slot is None else move(self.slot),
            share=None if self.share is None else self.share.map_tensors(move),
        )

    def count_real_tokens(self, tokens: int) -> Tensor | int:
        """How many of the `tokens` of each group are no padding, over all groups of all ranks."""
        whole = self.whole
        return len(whole.number) * tokens if whole.mask is None else whole.mask.sum()

    def arrange(self, values: Tensor) -> Tensor:
        """Gather the groups of each image: [g ...] -> [images longest ...], zeros where an image has fewer."""
        if self.slot is None:
            return values.reshape(self.images, self.longest, *values.shape[1:])
        arranged = values.new_zeros(self.images * self.longest, *values.shape[1:])
        return arranged.index_copy(0, self.slot, values).reshape(self.images, self.longest, *values.shape[1:])

    def scatter(self, arranged: Tensor) -> Tensor:
        """Back into the list: [images longest ...] -> [g ...]."""
        values = arranged.flatten(0, 1)
        return values if self.slot is None else values[self.slot]

    def present(self) -> Tensor | None:
        """[images places] bool, True where `gather` gives a group; None where it does everywhere."""
        if self.share is not None:
            return self.share.present
        if self.slot is None:
            return None
        taken = torch.zeros(self.images * self.longest, dtype=torch.bool, device=self.slot.device)
        return taken.index_fill(0, self.slot, True).reshape(self.images, self.longest)

    def gather(self, arranged: Tensor) -> Tensor:
        """What all ranks arranged: [images t ...] -> [images (ranks t) ...]; as it is where these are all groups."""
        if self.share is None:
            return arranged
        return self.share.gather(arranged).transpose(0, 1).flatten(1, 2)

    def own_part(self, gathered: Tensor, dim: int = 1) -> Tensor:
        """What of `gather` is of this rank: [... (ranks t) ...] -> [... t ...]."""
        return gathered if self.share is None else gathered.chunk(self.share.ranks, dim)[self.share.rank]

    def sum_over_ranks(self, values: Tensor) -> Tensor:
        """The sum over all ranks of values of any shape."""
        return values if self.share is None else self.share.gather(values).sum(dim=0)

    def shift(self, values: Tensor) -> Tensor:
        """What the group before each group has, in its image: [g ...] -> [g ...], zeros for the first of an image."""
        arranged = self.arrange(values)
        first = torch.zeros_like(arranged[:, :1])
        if self.share is not None:
            # A rank that has groups of an image comes after one that has some, too, but for the first rank.
            images = torch.arange(self.images, device=values.device)
            last = torch.tensor([max(count, 1) - 1 for count in self.counts()], device=values.device)
            given = self.share.gather(arranged[images, last])[self.share.rank - 1, :, None]
            # Not left unused on the first rank: the backward pass of the others waits for its own.
            first = given.masked_fill(torch.tensor(self.share.rank == 0, device=values.device), 0)
        return self.scatter(torch.cat([first, arranged[:, :-1]], dim=1))


class RankShare(NamedTuple):
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

    def map_tensors(self, move: Callable[[Tensor], Tensor]) -> RankShare:
        """The same with what `move` makes of every tensor."""
        present = None if self.present is None else move(self.present)
        return self._replace(whole=self.whole.map_tensors(move), present=present)


def span(count: int, rank: int, ranks: int) -> slice:
    """The run of `count` groups of an image that a rank computes: lengths differ by one at most, longer ones first."""
    length, longer = divmod(count, ranks)
    start = rank * length + min(rank, longer)
    return slice(start, start + length + (rank < longer))


def _join_masks(masks: list[Tensor | None], counts: list[int]) -> Tensor | None:
    given = [mask for mask in masks if mask is not None]
    if not given:
        return None
    whole = [
        given[0].new_ones(count, given[0].shape[-1]) if mask is None else mask
        for mask, count in zip(masks, counts, strict=True)
    ]
    return torch.cat(whole)
