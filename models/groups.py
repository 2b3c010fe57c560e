"""The groups of a batch of images as one list, and the way between that list and the images.

Images of one batch may have different numbers of groups: nothing but `mix` and the pooling head ever needs to know
which groups belong together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor


class Groups(NamedTuple):
    """Which groups there are. All groups of an image follow each other, in the order of the images.

    Attributes:
        coordinates: [g 2] int64, row and column of each group in the grid of its image.
        number: [g] int64, number of each group in its image, counted along the rows of the full grid, or in the
            order of a sequence: the row of the fixed tables.
        mask: [g n] bool, True where a patch holds pixels; None where all do.
        slot: [g] int64, place of each group in the arrangement [images longest]; None where all images have
            `longest` groups, so that the list is that arrangement.
        images: Number of images, b.
        longest: Groups of the image that has most.
    """

    coordinates: Tensor
    number: Tensor
    mask: Tensor | None
    slot: Tensor | None
    images: int
    longest: int

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

    def expect(self, values: Tensor, tokens: int) -> None:
        """Raise ValueError, with the numbers, unless `values` [g n ...] hold `tokens` for each group of this list."""
        self.check(tokens)
        count = len(self.number)
        if values.shape[:2] != (count, tokens):
            raise ValueError(f"{count} groups of {tokens} tokens cannot have values {list(values.shape)}")

    def to(self, device: torch.device) -> Self:
        """The same on another device."""
        return self._replace(
            coordinates=self.coordinates.to(device, non_blocking=True),
            number=self.number.to(device, non_blocking=True),
            mask=None if self.mask is None else self.mask.to(device, non_blocking=True),
            slot=None if self.slot is None else self.slot.to(device, non_blocking=True),
        )

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
        """[images longest] bool, True where an image has a group; None where every place is taken."""
        if self.slot is None:
            return None
        taken = torch.zeros(self.images * self.longest, dtype=torch.bool, device=self.slot.device)
        return taken.index_fill(0, self.slot, True).reshape(self.images, self.longest)


def _join_masks(masks: list[Tensor | None], counts: list[int]) -> Tensor | None:
    given = [mask for mask in masks if mask is not None]
    if not given:
        return None
    whole = [
        given[0].new_ones(count, given[0].shape[-1]) if mask is None else mask
        for mask, count in zip(masks, counts, strict=True)
    ]
    return torch.cat(whole)
