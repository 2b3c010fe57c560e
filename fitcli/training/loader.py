"""Batches of patches, read ahead in threads. What a batch holds follows from (seed, epoch, position) alone.

Threads, not processes: decoding and copying release the interpreter, and pixels need not cross a process border.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fitcli.background import foreground
from fitcli.errors import DataError
from fitcli.grid import PatchGrid
from fitcli.images.base import ImageReader
from fitcli.images.crop import Crop
from fitcli.images.open import open_image
from fitcli.patches import groups_of, read_patches
from fitcli.preprocessing import Preprocessing
from fitcli.training.augmentation import turned
from fitcli.training.dataset import Sample
from fitcli.training.settings import TrainSettings
from fitcli.window import Window
from models.groups import Groups

AHEAD = 3
"""Batches that are read while one is computed."""

ORIGINS = 64
"""The grid of a training image starts at a random group coordinate below this, so that the coordinates of images of up
to this many groups more than the training images have are nothing new to the model."""

BRIGHTNESS, CONTRAST = 0.1, 0.1
"""Standard deviations of the change of brightness (in units of the pixels' standard deviation) and of contrast."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Images of any sizes, cut into patches.

    Attributes:
        patches: [g n p] in the dtype of the pixels.
        groups: Where the patches lie.
        labels: [b] int64.
        gain, shift: [g 1 1] float32: what normalised values are multiplied with, and what is added.
    """

    patches: Tensor
    groups: Groups
    labels: Tensor
    gain: Tensor
    shift: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        moved = [t.to(device, non_blocking=True) for t in (self.patches, self.labels, self.gain, self.shift)]
        return Batch(moved[0], self.groups.to(device), moved[1], moved[2], moved[3])


@dataclass(frozen=True, slots=True)
class Loader:
    """Reads training batches.

    Attributes:
        samples: The training images.
        settings: Batch size, window size, augmentation, seed.
        preprocessing: What the model expects of pixels.
        patch, group: Of the model.
        threads: That read at the same time.
    """

    samples: Sequence[Sample]
    settings: TrainSettings
    preprocessing: Preprocessing
    patch: int
    group: int
    threads: int = 2

    def batches(self, start: int, stop: int) -> Iterator[Batch]:
        """Batches number `start` ... `stop - 1`, in order, counted over all epochs."""
        with ThreadPoolExecutor(self.threads, "loader") as pool:
            pending: deque[list[Future[_Item]]] = deque()
            try:
                for number in range(start, stop + AHEAD):
                    if number < stop:
                        items = self._positions(number)
                        pending.append([pool.submit(self._read, epoch, index) for epoch, index in items])
                    if number >= start + AHEAD and pending:
                        yield _collate([future.result() for future in pending.popleft()])
                while pending:
                    yield _collate([future.result() for future in pending.popleft()])
            finally:
                for future in (future for futures in pending for future in futures):
                    future.cancel()

    def _positions(self, number: int) -> list[tuple[int, int]]:
        """(epoch, sample) of each image of a batch. The images are one endless row of permutations, one per epoch."""
        images, size = len(self.samples), self.settings.batch_size
        places = [divmod(place, images) for place in range(number * size, (number + 1) * size)]
        orders = {epoch: self._order(epoch) for epoch, _ in places}
        return [(epoch, int(orders[epoch][place])) for epoch, place in places]

    def _order(self, epoch: int) -> np.ndarray[Any, Any]:
        """A random order in which the classes are spread evenly: small batches hold about equal shares of each.

        What a batch has in excess of one class would swamp what little a needle in a haystack has to say at first.
        """
        rng = np.random.default_rng([self.settings.seed, 1, epoch])
        labels = np.array([sample.label for sample in self.samples])
        places = np.empty(len(labels))
        for label in np.unique(labels):
            members = rng.permutation(np.flatnonzero(labels == label))
            places[members] = (np.arange(len(members)) + rng.random()) / len(members)
        return np.argsort(places, kind="stable")

    def _read(self, epoch: int, index: int) -> _Item:
        sample = self.samples[index]
        rng = np.random.default_rng([self.settings.seed, 2, epoch, index])
        with open_image(sample.path) as image:
            if reason := self.preprocessing.mismatch(image.info):
                raise DataError(f"{sample.path}: {reason}")
            shown = Crop(image, self._window(image, rng))
            grid = PatchGrid(shown.info.size, self.patch, self.group)
            background = self.settings.background
            places = list(grid.coordinates()) if background is None else foreground(shown, grid, background)
            patches = read_patches(shown, grid, places, lambda pixels: self.preprocessing.convert(pixels, image.info))
        groups, gain, shift = groups_of(grid, places), 1.0, 0.0
        if self.settings.augment:
            patches, groups = turned(patches, groups, grid, int(rng.integers(4)), bool(rng.integers(2)))
            groups = groups._replace(
                coordinates=groups.coordinates + torch.tensor(rng.integers(ORIGINS, size=2).tolist())
            )
            gain, shift = float(np.exp(rng.normal(0, CONTRAST))), float(rng.normal(0, BRIGHTNESS))
        return _Item(patches, groups, sample.label, gain, shift)

    def _window(self, image: ImageReader, rng: np.random.Generator) -> Window:
        """The whole image, or a random square of `size` pixels, which is all of an image that is smaller."""
        (height, width), size = image.info.size, self.settings.size
        if size is None:
            return Window(0, 0, height, width)
        top, left = (int(rng.integers(max(0, side - size) + 1)) for side in (height, width))
        return Window(top, left, min(size, height), min(size, width))


@dataclass(frozen=True, slots=True)
class _Item:
    patches: Tensor
    groups: Groups
    label: int
    gain: float
    shift: float


def _collate(items: list[_Item]) -> Batch:
    counts = torch.tensor([len(item.patches) for item in items])
    return Batch(
        patches=torch.cat([item.patches for item in items]),
        groups=Groups.join([item.groups for item in items]),
        labels=torch.tensor([item.label for item in items]),
        gain=torch.tensor([item.gain for item in items]).repeat_interleave(counts)[:, None, None],
        shift=torch.tensor([item.shift for item in items]).repeat_interleave(counts)[:, None, None],
    )
