"""Keep the groups of a batch of images in one list, and convert values between that list and the images.

The images of a batch may have different numbers of groups. Only `mix` and the pooling head need to know which groups
belong to one image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Self, cast

import torch
from torch import Tensor

from models.real_tokens import RealTokens

Gather = Callable[[Tensor], Tensor]
"""All-gather: values [...] of this rank -> values [ranks ...] of all ranks, in the order of the ranks.

It is a collective: all ranks call it equally often, in the same order, with values of one shape. It is differentiable:
the gradient of the input of a rank is the sum of the gradients that all ranks compute for it.
"""


class Groups(NamedTuple):
    """The groups of a batch in one list: those of the first image, then those of the second, and so on.

    If several ranks share the images, the list holds the groups of this rank: a run of the groups of each image.

    Attributes:
        coordinates: [g 2] int64, row and column of each group in the grid of its image.
        number: [g] int64, number of each group in its image, counted along the rows of the full grid or in the order
            of a sequence. It is the index into the fixed position tables.
        mask: [g n] bool, True for patches with pixels, False for padding; None if there is no padding. It stays in host
            memory, because it decides the shapes of what a device computes.
        slot: [g] int64, index of each group in the padded arrangement [images longest], flattened; None if all images
            have `longest` groups, so that the list already is that arrangement.
        images: Number of images, b.
        longest: Largest number of groups of an image; if ranks share the images, the largest number on any one rank.
        share: Position of this rank among several; None if the list holds all groups.
        sizes: Number of groups of each image, in host memory; None to count them in `slot` if they differ.
    """

    coordinates: Tensor
    number: Tensor
    mask: Tensor | None
    slot: Tensor | None
    images: int
    longest: int
    share: RankShare | None = None
    sizes: tuple[int, ...] | None = None

    @classmethod
    def of_grid(cls, images: int, rows: int, columns: int, device: torch.device | None = None) -> Self:
        """Return all groups of `images` images, each a grid of `rows` x `columns` groups."""
        row, column = torch.meshgrid(
            torch.arange(rows, device=device), torch.arange(columns, device=device), indexing="ij"
        )
        coordinates = torch.stack([row.flatten(), column.flatten()], dim=-1).repeat(images, 1)
        number = torch.arange(rows * columns, device=device).repeat(images)
        return cls(coordinates, number, None, None, images, rows * columns)

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """Concatenate the groups of several batches.

        Raises:
            ValueError: `parts` is empty, or a part contradicts itself.
        """
        if not parts:
            raise ValueError("there are no groups to join; pass at least one batch")
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
            sizes=tuple(counts) if ragged else None,
        )

    def share_of(self, rank: int, ranks: int, gather: Gather) -> Self:
        """Return the groups that one of several ranks computes: a run of the groups of each image, see `span`.

        Raises:
            ValueError: There is no such rank, or the list is already the share of a rank.
        """
        if not 0 <= rank < ranks or self.share is not None:
            raise ValueError(f"rank {rank} of {ranks} has no share of these groups")
        counts, longest = self.counts(), -(-self.longest // ranks)
        spans = [[span(count, each, ranks) for each in range(ranks)] for count in counts]
        lengths = [[part.stop - part.start for part in parts] for parts in spans]  # [images ranks]
        taken = torch.arange(longest) < torch.tensor(lengths)[..., None]  # [images ranks longest]
        device = self.number.device
        starts = [sum(counts[:image]) for image in range(self.images)]
        runs = [parts[rank] for parts in spans]
        chosen = torch.cat(
            [torch.arange(start + run.start, start + run.stop) for start, run in zip(starts, runs, strict=True)]
        )
        index = chosen.to(device)
        even = all(each[rank] == longest for each in lengths)
        filled = all(length == longest for each in lengths for length in each)
        return self._replace(
            coordinates=self.coordinates[index],
            number=self.number[index],
            mask=None if self.mask is None else self.mask[chosen],
            slot=None if even else taken[:, rank].flatten().nonzero()[:, 0].to(device),
            longest=longest,
            share=RankShare(
                rank, ranks, gather, self, None if filled else taken.flatten(1).to(device), tuple(map(tuple, lengths))
            ),
            sizes=None if even else tuple(each[rank] for each in lengths),
        )

    @property
    def whole(self) -> Self:
        """Groups of all ranks, in the order of a single process."""
        return self if self.share is None else cast(Self, self.share.whole)

    def counts(self) -> list[int]:
        """Return the number of groups of each image."""
        if self.sizes is not None:
            return list(self.sizes)
        if self.slot is None:
            return [self.longest] * self.images
        return torch.bincount(self.slot // self.longest, minlength=self.images).tolist()

    def image_of_group(self) -> Tensor:
        """Return the index of the image of each group, [g] int64."""
        if self.slot is not None:
            return self.slot // self.longest
        return torch.arange(self.images, device=self.number.device).repeat_interleave(self.longest)

    def check(self, tokens: int | None = None) -> None:
        """Raise ValueError, with the numbers, if the tensors of this list contradict each other.

        Args:
            tokens: Tokens per group that the mask must have; None allows any number.
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
        """Raise ValueError, with the numbers, unless `values` [g n ...] hold `tokens` tokens for each group."""
        self.check(tokens)
        count = len(self.number)
        if values.shape[:2] != (count, tokens):
            raise ValueError(f"{count} groups of {tokens} tokens cannot have values {list(values.shape)}")

    def to(self, device: torch.device) -> Self:
        """Return the groups with all tensors but the mask on a device."""
        return self.map_tensors(lambda values: values.to(device))

    def map_tensors(self, function: Callable[[Tensor], Tensor]) -> Self:
        """Return the groups with `function` applied to every tensor but the mask."""
        return self._replace(
            coordinates=function(self.coordinates),
            number=function(self.number),
            slot=None if self.slot is None else function(self.slot),
            share=None if self.share is None else self.share.map_tensors(function),
        )

    def real_tokens(self, part: slice = slice(None)) -> RealTokens:
        """Return the real tokens of a slice of the groups, in host memory.

        Raises:
            ValueError: A group has no real token.
        """
        return RealTokens.of(None if self.mask is None else self.mask[part])

    def count_real_tokens(self, tokens: int) -> int:
        """Count the tokens that are not padding, over the groups of all ranks with `tokens` tokens each."""
        whole = self.whole
        return len(whole.number) * tokens if whole.mask is None else int(whole.mask.sum())

    def arrange(self, values: Tensor) -> Tensor:
        """Pad the groups of each image: [g ...] -> [images longest ...], with zeros for missing groups."""
        if self.slot is None:
            return values.reshape(self.images, self.longest, *values.shape[1:])
        arranged = values.new_zeros(self.images * self.longest, *values.shape[1:])
        return arranged.index_copy(0, self.slot, values).reshape(self.images, self.longest, *values.shape[1:])

    def scatter(self, arranged: Tensor) -> Tensor:
        """Return to the list; the inverse of `arrange`: [images longest ...] -> [g ...]."""
        values = arranged.flatten(0, 1)
        return values if self.slot is None else values[self.slot]

    def present(self) -> Tensor | None:
        """Return [images (ranks longest)] bool, True where `gather` returns a group; None if it does everywhere."""
        if self.share is not None:
            return self.share.present
        if self.slot is None:
            return None
        taken = torch.zeros(self.images * self.longest, dtype=torch.bool, device=self.slot.device)
        return taken.index_fill(0, self.slot, True).reshape(self.images, self.longest)

    def gather(self, arranged: Tensor) -> Tensor:
        """All-gather arranged values: [images t ...] -> [images (ranks t) ...]; unchanged without other ranks."""
        if self.share is None:
            return arranged
        return self.share.gather(arranged).transpose(0, 1).flatten(1, 2)

    def own_part(self, gathered: Tensor, dim: int = 1) -> Tensor:
        """Select the part of this rank from the result of `gather`: [... (ranks t) ...] -> [... t ...]."""
        return gathered if self.share is None else gathered.chunk(self.share.ranks, dim)[self.share.rank]

    def sum_over_ranks(self, values: Tensor) -> Tensor:
        """Sum values of any shape over all ranks."""
        return values if self.share is None else self.share.gather(values).sum(dim=0)

    def shift(self, values: Tensor) -> Tensor:
        """Give each group the values of the group before it: [g ...] -> [g ...], zeros for the first of an image."""
        arranged = self.arrange(values)
        first = torch.zeros_like(arranged[:, :1])
        if self.share is not None:
            # `span` fills the ranks in order: if this rank has groups of an image, so has the rank before it.
            images = torch.arange(self.images, device=values.device)
            last = torch.tensor([max(count, 1) - 1 for count in self.counts()], device=values.device)
            received = self.share.gather(arranged[images, last])[self.share.rank - 1, :, None]
            # The first rank needs no values, but must use them: the backward pass of `gather` is a collective, too.
            first = received.masked_fill(torch.tensor(self.share.rank == 0, device=values.device), 0)
        return self.scatter(torch.cat([first, arranged[:, :-1]], dim=1))


class RankShare(NamedTuple):
    """The position of a rank among those that share the groups of a batch.

    Attributes:
        rank: Number of this rank, from 0.
        ranks: Number of ranks.
        gather: All-gather over these ranks.
        whole: Groups of all ranks, in the order of a single process.
        present: [images (ranks longest)] bool, True where the arrangements of all ranks, side by side, hold a group;
            None if they do everywhere.
        counts: Number of groups of each image on each rank.
    """

    rank: int
    ranks: int
    gather: Gather
    whole: Groups
    present: Tensor | None
    counts: tuple[tuple[int, ...], ...]

    def map_tensors(self, function: Callable[[Tensor], Tensor]) -> RankShare:
        """Return the share with `function` applied to every tensor."""
        present = None if self.present is None else function(self.present)
        return self._replace(whole=self.whole.map_tensors(function), present=present)


def span(count: int, rank: int, ranks: int) -> slice:
    """Return the run of the `count` groups of an image that a rank computes.

    The lengths of the runs differ by at most one; the first ranks have the longer ones.
    """
    length, longer = divmod(count, ranks)
    start = rank * length + min(rank, longer)
    return slice(start, start + length + (rank < longer))


def _join_masks(masks: list[Tensor | None], counts: list[int]) -> Tensor | None:
    like = next((mask for mask in masks if mask is not None), None)
    if like is None:
        return None
    return torch.cat(
        [
            like.new_ones(count, like.shape[-1]) if mask is None else mask
            for mask, count in zip(masks, counts, strict=True)
        ]
    )
