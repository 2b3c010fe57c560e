"""Joins items into batches, and brings batches to the device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from fitcli.data.place import Place
from fitcli.device.transfer import DeviceCopies, PendingCopy, pin, to_device
from fitcli.errors import is_out_of_memory
from fitcli.execution.missing import Missing
from models.groups import Groups


class BatchTarget(Protocol):
    """The targets of the images of a batch: tensors that only the task understands."""

    def map_tensors(self, move: Callable[[Tensor], Tensor]) -> Self:
        """Return the targets with `move` applied to every tensor."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One image of a batch.

    Attributes:
        patches: Patches [g n p] of the groups that this process computes.
        place: The part of the image that the patches show.
        target: The target at this place, as `TargetReader.read` gives it.
        path: File of the image.
        missing: Marks of missing values of the patches, [g n p] bool; None if none are, or if nobody asks.
    """

    patches: Tensor
    place: Place
    target: Any
    path: Path
    missing: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Images of any sizes, cut into patches.

    Attributes:
        patches: Patches [g n p] in the dtype of the pixels.
        groups: Positions of the patches.
        target: Targets of the images, see `TargetReader.join`.
        gain, shift: [g 1 1] float32: factor and summand of the normalised values.
        showings: (epoch, number of the sample) of each image, which seed the random choices of a step.
        paths: Files of the images.
        marks: Marks of missing values of the patches, [g n p] bool in host memory; None if none are missing.
        source: The batch in host memory that this one was copied from; None for a batch in host memory.
        following: Returns the batch after this one if it is ready, else None; does not wait.
    """

    patches: Tensor
    groups: Groups
    target: BatchTarget
    gain: Tensor
    shift: Tensor
    showings: tuple[tuple[int, int], ...] = ()
    paths: tuple[Path, ...] = ()
    marks: Tensor | None = None
    source: Batch | None = None
    following: Callable[[], Batch | None] = lambda: None

    @property
    def images(self) -> int:
        """Number of images."""
        return self.groups.images

    @property
    def device(self) -> torch.device:
        """Device of all tensors except perhaps the patches."""
        return self.gain.device

    @property
    def on_host(self) -> Batch:
        """The batch in host memory, whose values are read without waiting for the device."""
        return self.source or self

    def pinned(self, device: torch.device) -> Batch:
        """Return the batch in pinned memory, from which a CUDA device copies without the host."""
        return self._map(partial(pin, device=device), pin(self.patches, device))

    def to(self, device: torch.device, pixels: bool = True, arrived: Tensor | None = None) -> Batch:
        """Return the batch on another device.

        Args:
            device: The device that computes.
            pixels: Whether to copy the patches, too. Otherwise they stay in host memory, pinned.
            arrived: The patches, if they are on the device already.
        """
        patches = arrived
        if patches is None:
            patches = to_device(self.patches, device) if pixels else pin(self.patches, device)
        return replace(self._map(partial(to_device, device=device), patches), source=self.on_host)

    def part(self, part: slice) -> Tensor:
        """Return the patches [part n p] of a slice of the groups, on the device of the batch."""
        return to_device(self.patches[part], self.device)

    @property
    def missing(self) -> Missing | None:
        """Missing values, for losses on the device of the batch; None if there are none, or if nobody asks."""
        return None if self.marks is None else Missing.of(self.marks, self.on_host.groups.mask, self.device)

    def real_patches(self) -> float:
        """Return the number of patches without padding and missing values; a patch may count in part."""
        if self.missing is not None:
            return self.missing.present / self.patches.shape[2]
        mask = self.on_host.groups.mask
        return int(mask.sum()) if mask is not None else self.patches[..., 0].numel()

    def _map(self, move: Callable[[Tensor], Tensor], patches: Tensor) -> Batch:
        """Return the batch with other patches, and with `move` applied to every other tensor."""
        return replace(
            self,
            patches=patches,
            groups=self.groups.map_tensors(move),
            target=self.target.map_tensors(move),
            gain=move(self.gain),
            shift=move(self.shift),
        )


class Arrivals:
    """Copies batches to the device; on a CUDA device, the pixels of the next batch are copied during a step.

    Args:
        device: The device that computes.
        ahead: Whether the device has room for the pixels of one more batch.
    """

    def __init__(self, device: torch.device, ahead: bool) -> None:
        self._device = device
        self._copies = DeviceCopies(device, in_flight=1) if ahead and device.type == "cuda" else None
        self._begun: PendingCopy | None = None

    def bring(self, batch: Batch, pixels: bool) -> Batch:
        """Return a batch on the device. Without `pixels`, the patches stay in pinned host memory, see `Batch.part`."""
        begun, self._begun = self._begun, None
        if begun is None or begun.source is not batch.patches or not pixels:
            return batch.to(self._device, pixels)
        return batch.to(self._device, arrived=begun.receive())

    def begin(self, batch: Batch | None) -> None:
        """Start to copy the pixels of the next batch; None if it is not ready.

        Call after the kernels of a batch are queued: the one before is freed by then, so at most two batches are on the
        device.
        """
        if self._copies is None or batch is None:
            return
        try:
            self._begun = self._copies.begin(batch.patches)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            self.stop()

    def forget(self) -> None:
        """Drop a copy that was started; the next batch is copied when its turn comes."""
        self._begun = None

    def stop(self) -> None:
        """Copy one batch at a time from now on."""
        self._copies = self._begun = None


def collate(items: list[Item], groups: Groups, target: BatchTarget) -> Batch:
    """Join items in their order.

    Args:
        items: The images.
        groups: The groups of their patches.
        target: Their joined targets.
    """
    counts = torch.tensor([len(item.patches) for item in items])
    gain, shift = (
        torch.tensor(values).repeat_interleave(counts)[:, None, None]
        for values in ([item.place.gain for item in items], [item.place.shift for item in items])
    )
    marks = [item.missing for item in items]
    return Batch(
        patches=torch.cat([item.patches for item in items]),
        marks=None
        if all(mark is None for mark in marks)
        else torch.cat(
            [
                torch.zeros(item.patches.shape, dtype=torch.bool) if item.missing is None else item.missing
                for item in items
            ]
        ),
        groups=groups,
        target=target,
        gain=gain,
        shift=shift,
        showings=tuple(item.place.showing for item in items),
        paths=tuple(item.path for item in items),
    )
