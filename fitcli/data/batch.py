"""Images that are computed together, and what is known of each of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from fitcli.device.transfer import DeviceCopies, PendingCopy, pin, to_device
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
        following: Gives the batch after this one if it has been read by now, without waiting for it.
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
    following: Callable[[], Batch | None] = lambda: None

    @property
    def on_host(self) -> Batch:
        """The same as it was read."""
        return self.read or self

    def pinned(self, device: torch.device) -> Batch:
        """The same where a device can fetch it by itself."""
        return self._moved(partial(pin, device=device), pin(self.patches, device))

    def to(self, device: torch.device, pixels: bool = True, arrived: Tensor | None = None) -> Batch:
        """The same on another device; without `pixels`, the patches stay where they are, pinned for their way.

        Args:
            device: That computes.
            pixels: Move the patches, too.
            arrived: These, where they are there already.
        """
        patches = arrived
        if patches is None:
            patches = to_device(self.patches, device) if pixels else pin(self.patches, device)
        return replace(self._moved(partial(to_device, device=device), patches), read=self.on_host)

    def part(self, part: slice) -> Tensor:
        """The patches of a slice of the groups [part n p], on the device of the rest."""
        return to_device(self.patches[part], self.labels.device)

    def real_patches(self) -> int:
        """Patches that are no padding."""
        mask = self.on_host.groups.mask
        return int(mask.sum()) if mask is not None else self.patches[..., 0].numel()

    def _moved(self, move: Callable[[Tensor], Tensor], patches: Tensor) -> Batch:
        """With other patches, and what `move` makes of everything else."""
        return replace(
            self,
            patches=patches,
            groups=self.groups.map_tensors(move),
            labels=move(self.labels),
            gain=move(self.gain),
            shift=move(self.shift),
            targets=move(self.targets),
        )


class Arrivals:
    """Batches where they are computed: to a CUDA device, the pixels of the next one travel beside what it computes.

    Args:
        device: That computes.
        ahead: There is room on it for the pixels of one more batch.
    """

    def __init__(self, device: torch.device, ahead: bool) -> None:
        self._device = device
        self._copies = DeviceCopies(device, in_flight=1) if ahead and device.type == "cuda" else None
        self._begun: PendingCopy | None = None

    def bring(self, batch: Batch, pixels: bool) -> Batch:
        """A batch on the device; without `pixels`, the patches stay pinned on the host, see `Batch.part`."""
        begun, self._begun = self._begun, None
        if begun is None or begun.source is not batch.patches or not pixels:
            return batch.to(self._device, pixels)
        return batch.to(self._device, arrived=begun.receive())

    def begin(self, batch: Batch | None) -> None:
        """Have the pixels of the batch set out that is brought next, where it is known by now.

        To be called when the computing of a batch is under way and the host is done with it: of an earlier one nothing
        is left on the device then, so that there are the pixels of two batches at most.
        """
        if self._copies is None or batch is None:
            return
        try:
            self._begun = self._copies.begin(batch.patches)
        except torch.OutOfMemoryError:
            self.stop()

    def forget(self) -> None:
        """Give back what has set out: the next batch is brought when it is its turn."""
        self._begun = None

    def stop(self) -> None:
        """From now on, one batch at a time."""
        self._copies = self._begun = None


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
