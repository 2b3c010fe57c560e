"""Images that are computed together, and what is known of each of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from models.groups import Groups


@dataclass(frozen=True, slots=True)
class Batch:
    """Images of any sizes, cut into patches.

    Attributes:
        patches: [g n p] in the dtype of the pixels.
        groups: Where the patches lie.
        labels: [b] int64.
        gain, shift: [g 1 1] float32: what normalised values are multiplied with, and what is added.
        showings: (epoch, number of the sample) of each image: what is random about a step follows from them.
        paths: Of the images.
    """

    patches: Tensor
    groups: Groups
    labels: Tensor
    gain: Tensor
    shift: Tensor
    showings: tuple[tuple[int, int], ...] = ()
    paths: tuple[Path, ...] = ()

    def to(self, device: torch.device, pixels: bool = True) -> Batch:
        """The same on another device; without `pixels`, the patches stay where they are, pinned for their way."""
        moved = [t.to(device, non_blocking=True) for t in (self.labels, self.gain, self.shift)]
        if pixels:
            patches = self.patches.to(device, non_blocking=True)
        else:
            patches = self.patches.pin_memory() if device.type == "cuda" else self.patches
        return Batch(patches, self.groups.to(device), moved[0], moved[1], moved[2], self.showings, self.paths)

    def part(self, part: slice) -> Tensor:
        """The patches of a slice of the groups [part n p], on the device of the rest."""
        return self.patches[part].to(self.labels.device, non_blocking=True)

    def real_patches(self) -> int:
        """Patches that are no padding."""
        mask = self.groups.mask
        return int(mask.sum()) if mask is not None else self.patches[..., 0].numel()


@dataclass(frozen=True, slots=True)
class Item:
    """One image of a batch, with what is said of it there.

    Attributes:
        patches: Of the groups that this process computes.
        groups: All of the image.
    """

    patches: Tensor
    groups: Groups
    label: int
    gain: float
    shift: float
    showing: tuple[int, int]
    path: Path


def collate(items: list[Item], groups: Groups) -> Batch:
    """Join images in their order, where `groups` are those of their patches."""
    counts = torch.tensor([len(item.patches) for item in items])
    return Batch(
        patches=torch.cat([item.patches for item in items]),
        groups=groups,
        labels=torch.tensor([item.label for item in items]),
        gain=torch.tensor([item.gain for item in items]).repeat_interleave(counts)[:, None, None],
        shift=torch.tensor([item.shift for item in items]).repeat_interleave(counts)[:, None, None],
        showings=tuple(item.showing for item in items),
        paths=tuple(item.path for item in items),
    )
