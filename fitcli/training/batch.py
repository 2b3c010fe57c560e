"""Images that are computed together, and what is known of each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from fitcli.transfer import sent
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
        targets: [b l] int64, numbers of the classes that hold among those of all tasks, then -1; l is 0 where there is
            one task of one class per image.
        read: What this was moved from, whose values the host knows without asking the device; None where this is it.
    """

    patches: Tensor
    groups: Groups
    labels: Tensor
    gain: Tensor
    shift: Tensor
    showings: tuple[tuple[int, int], ...] = ()
    paths: tuple[Path, ...] = ()
    targets: Tensor = field(default_factory=lambda: torch.empty(0, 0, dtype=torch.int64))
    read: Batch | None = None

    @property
    def on_host(self) -> Batch:
        """The same as it was read."""
        return self.read or self

    def to(self, device: torch.device, pixels: bool = True) -> Batch:
        """The same on another device; without `pixels`, the patches stay where they are, pinned for their way."""
        near = ("labels", "gain", "shift", "targets")
        moved = {name: getattr(self, name).to(device, non_blocking=True) for name in near}
        if pixels:
            patches = self.patches.to(device, non_blocking=True)
        else:
            patches = self.patches.pin_memory() if device.type == "cuda" else self.patches
        return replace(self, patches=patches, groups=self.groups.to(device), read=self.on_host, **moved)

    def part(self, part: slice) -> Tensor:
        """The patches of a slice of the groups [part n p], on the device of the rest."""
        return sent(self.patches[part], self.labels.device)

    def real_patches(self) -> int:
        """Patches that are no padding."""
        mask = self.on_host.groups.mask
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
    targets: tuple[int, ...] = ()


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
        targets=padded([item.targets for item in items]),
    )


def padded(targets: Sequence[tuple[int, ...]]) -> Tensor:
    """Numbers of the classes of each image -> [b l] int64, -1 where an image has fewer than another."""
    longest = max(map(len, targets))
    rows = [numbers + (-1,) * (longest - len(numbers)) for numbers in targets]
    return torch.tensor(rows, dtype=torch.int64).reshape(len(targets), longest)
