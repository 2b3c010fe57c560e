"""Batches of patches, read ahead in threads. What a batch holds follows from (seed, epoch, position) alone.

Threads, not processes: decoding and copying release the interpreter, and pixels need not cross a process border.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fitcli.background import foreground
from fitcli.distributed import Axis
from fitcli.errors import DataError
from fitcli.grid import PatchGrid
from fitcli.images.base import ImageReader
from fitcli.images.crop import Crop
from fitcli.images.open import open_image
from fitcli.images.shifted import Shifted
from fitcli.memory.claims import check_pixels
from fitcli.patches import groups_of, read_patches
from fitcli.preprocessing import Preprocessing
from fitcli.sequences import Order, permutation
from fitcli.training.augmentation import beside_margin, thinned, turned_groups, turned_patches, without_margin
from fitcli.training.bad_images import Attempt, BadImage, BadImages, first_good
from fitcli.training.batch import Batch, Item, collate
from fitcli.training.dataset import Sample
from fitcli.training.settings import TrainSettings
from fitcli.window import Window
from models.groups import Groups
from models.share import Gather, span

AHEAD = 3
"""Batches that are read while one is computed; for a CUDA device, beside one that is joined."""

ORIGINS = 64
"""The grid of a training image starts at a random group coordinate below this, so that the coordinates of images of up
to this many groups more than the training images have are nothing new to the model."""

CPU = torch.device("cpu")

BRIGHTNESS, CONTRAST = 0.1, 0.1
"""Standard deviations of the change of brightness (in units of the pixels' standard deviation) and of contrast."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """How a model wants images to be laid out.

    Attributes:
        patch: Pixels per side of a patch.
        group: Patches per side of a group.
        order: Groups follow each other in this order, and pixels that do not fill a group are left out; None where
            the order means nothing, and images are padded to whole groups.
        any_origin: The grid of an augmented image starts anywhere; without, only that of a window of a larger image.
    """

    patch: int
    group: int
    order: Order | None = None
    any_origin: bool = True


class _Joined(NamedTuple):
    """A batch, and the images that failed on the way; None where there is none for one of them, which is the last."""

    batch: Batch | None
    failed: list[BadImage]


_Reading = list[Future[Attempt[Item]]]
"""The images of a batch."""


@dataclass(frozen=True, slots=True)
class Loader:
    """Reads training batches.

    Who does not go on to the end has to close what `batches` and `fixed` give, for their threads to end: they must not
    wait for the garbage collector, which may run in a thread that those would wait for.

    Attributes:
        samples: The training images.
        settings: Batch size, window size, augmentation, seed.
        preprocessing: What the model expects of pixels.
        layout: Of the patches.
        threads: That read at the same time.
        bad_images: Where images that cannot be used are counted.
        share: The processes that read a part of each batch each: images that follow each other, as many for each.
        group_share: The processes that read a part of the groups of each image each, see `models.share.span`.
        gather: How the latents of their groups come together; needed where they are several.
        device: That training batches are for. For a CUDA device they are joined and pinned early, in a thread.
    """

    samples: Sequence[Sample]
    settings: TrainSettings
    preprocessing: Preprocessing
    layout: Layout
    threads: int = 2
    bad_images: BadImages = field(default_factory=BadImages)
    share: Axis = field(default_factory=Axis)
    group_share: Axis = field(default_factory=Axis)
    gather: Gather | None = None
    device: torch.device = CPU

    def batches(self, start: int, stop: int) -> Generator[Batch]:
        """Batches number `start` ... `stop - 1`, in order, counted over all epochs; of each the part of this process.

        In place of an image that cannot be used stands another of its class, as random as (seed, epoch, position).

        Raises:
            TooManyBadImages: There are more than are put up with.
        """
        with ThreadPoolExecutor(1, "joined") as pool, closing(self._reading(start, stop)) as reading:
            if self.device.type != "cuda":
                yield from map(self._counted, map(self._joined, reading))
                return

            def join(images: _Reading) -> Future[_Joined]:
                return pool.submit(self._joined, images)

            # Not a loop: its variable would hold images that are joined already.
            joining = map(join, reading)
            current = next(joining, None)
            while current is not None:
                following = next(joining, None)
                yield replace(self._counted(current.result()), following=partial(_if_there, following))
                current = following

    def _reading(self, start: int, stop: int) -> Generator[_Reading, None, None]:
        """The images of batch after batch, read ahead."""
        with ThreadPoolExecutor(self.threads, "loader") as pool:
            pending: deque[_Reading] = deque()
            try:
                for number in range(start, stop + AHEAD):
                    if number < stop:
                        items = self._positions(number)
                        pending.append([pool.submit(self._read_one, epoch, index) for epoch, index in items])
                    if number >= start + AHEAD and pending:
                        yield pending.popleft()
                while pending:
                    yield pending.popleft()
            except GeneratorExit:
                # Nobody wants the rest. At the end, on the contrary, the last batches may still be read.
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def fixed(self) -> Generator[Batch]:
        """Every image once that can be used, in order, always the same: for validation. Processes take turns.

        Raises:
            TooManyBadImages: Others are more than are put up with.
            DataError: None can be used, by the only process.
        """
        own = range(self.share.rank, len(self.samples), self.share.size)
        size, found = max(1, self.settings.batch_size // self.share.size), self.share.size > 1
        with ThreadPoolExecutor(self.threads, "loader") as pool:
            for start in range(0, len(own), size):
                chosen = own[start : start + size]
                attempts = list(pool.map(self._read_fixed, chosen))
                self._count(attempts)
                if items := [attempt.result for attempt in attempts if attempt.result is not None]:
                    found = True
                    yield self._collate(items)
        if not found:
            raise DataError(f"{attempts[0].failed[0].error}; no other validation image can be used either")

    def _positions(self, number: int) -> list[tuple[int, int]]:
        """(epoch, sample) of each image of a batch that this process reads.

        The images are one endless row of permutations, one per epoch.
        """
        images, size = len(self.samples), self.settings.batch_size // self.share.size
        start = number * self.settings.batch_size + self.share.rank * size
        places = [divmod(place, images) for place in range(start, start + size)]
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

    def _read_one(self, epoch: int, index: int) -> Attempt[Item]:
        paths = chain([self.samples[index].path], self._replacements(epoch, index))
        return first_good(partial(self._read, epoch, index), paths, self.bad_images.most)

    def _read_fixed(self, index: int) -> Attempt[Item]:
        return first_good(partial(self._read, 0, index), [self.samples[index].path], 0)

    def _replacements(self, epoch: int, index: int) -> Iterator[Path]:
        """The other images of the class, in a random order."""
        label = self.samples[index].label
        others = [number for number, other in enumerate(self.samples) if other.label == label and number != index]
        for number in np.random.default_rng([self.settings.seed, 4, epoch, index]).permutation(others):
            yield self.samples[number].path

    def _joined(self, reading: _Reading) -> _Joined:
        """Of images in whose place others were tried already. Runs in any thread: nothing is counted."""
        attempts = [future.result() for future in reading]
        items, failed = [], list[BadImage]()
        for attempt in attempts:
            failed += attempt.failed
            if attempt.result is not None:
                items.append(attempt.result)
        if len(items) < len(attempts):
            hopeless = next(attempt.failed[0] for attempt in attempts if attempt.result is None)
            return _Joined(None, [*failed, hopeless])
        return _Joined(self._collate(items).pinned(self.device), failed)

    def _counted(self, joined: _Joined) -> Batch:
        self.bad_images.add(joined.failed)
        if joined.batch is None:
            raise DataError(f"{joined.failed[-1].error}; no other image of its class can be used")
        return joined.batch

    def _collate(self, items: list[Item]) -> Batch:
        groups = Groups.join([item.groups for item in items])
        if self.gather is not None:
            groups = groups.share_of(self.group_share.rank, self.group_share.size, self.gather)
        return collate(items, groups)

    def _count(self, attempts: list[Attempt[Item]]) -> None:
        self.bad_images.add(bad for attempt in attempts for bad in attempt.failed)

    def _read(self, epoch: int, index: int, path: Path) -> Item:
        """The image in a file in the place of a sample."""
        rng = np.random.default_rng([self.settings.seed, 2, epoch, index])
        with open_image(path) as image:
            if reason := self.preprocessing.mismatch(image.info):
                raise DataError(f"{path}: {reason}")
            window = self._window(image, rng)
            check_pixels(image, (window.height, window.width), "train on windows with --size")
            is_part = (window.height, window.width) != image.info.size
            margin = self._margin(epoch, index)
            crop = Crop(image, window)
            shown = Shifted(crop, *margin) if any(margin) else crop
            grid = PatchGrid(shown.info.size, self.layout.patch, self.layout.group)
            background = self.settings.background
            places = list(grid.coordinates()) if background is None else foreground(shown, grid, background)
            places = beside_margin(places, grid, margin) or beside_margin(grid.coordinates(), grid, margin)
            groups, turn = without_margin(groups_of(grid, places), grid, margin), (0, False)
            if rate := self.settings.token_dropout:
                rng_of_tokens = np.random.default_rng([self.settings.seed, 6, epoch, index])
                groups = thinned(groups, grid.group**2, rate, rng_of_tokens)
            if self.settings.augments:
                turn = int(rng.integers(4)), bool(rng.integers(2))
                groups = turned_groups(groups, grid, *turn)
            if self.layout.order is not None:
                places, groups = _in_order(places, groups, self.layout.order)
            own = places[span(len(places), self.group_share.rank, self.group_share.size)]
            patches = self._patches(shown, grid, own)
        patches, gain, shift = turned_patches(patches, grid, *turn), 1.0, 0.0
        if (self.settings.augments and self.layout.any_origin) or (is_part and not self.layout.any_origin):
            groups = groups._replace(
                coordinates=groups.coordinates + torch.tensor(rng.integers(ORIGINS, size=2).tolist())
            )
        if self.settings.augments:
            gain, shift = float(np.exp(rng.normal(0, CONTRAST))), float(rng.normal(0, BRIGHTNESS))
        sample = self._sample(index, path)
        return Item(patches, groups, sample.label, gain, shift, (epoch, index), path, sample.targets)

    def _sample(self, index: int, path: Path) -> Sample:
        """What is said of an image, which may stand in the place of another."""
        own = self.samples[index]
        return own if own.path == path else next(sample for sample in self.samples if sample.path == path)

    def _margin(self, epoch: int, index: int) -> tuple[int, int]:
        """(top, left) by which an image is moved."""
        rng = np.random.default_rng([self.settings.seed, 5, epoch, index])
        top, left = rng.integers(self.settings.shift_canvas + 1, size=2).tolist()
        return top, left

    def _patches(self, image: ImageReader, grid: PatchGrid, places: list[tuple[int, int]]) -> Tensor:
        """[g n p] of groups at these places, of which there may be none."""
        if places:
            return read_patches(image, grid, places, lambda pixels: self.preprocessing.convert(pixels, image.info))
        values = self.preprocessing.channels * grid.patch**2
        return torch.empty(0, grid.group**2, values, dtype=getattr(torch, self.preprocessing.dtype))

    def _window(self, image: ImageReader, rng: np.random.Generator) -> Window:
        """The whole image, or a random square of `size` pixels, which is all of an image that is smaller.

        Of an image that has to be whole groups, what is left of that at the upper left.
        """
        (height, width), size = image.info.size, self.settings.size
        top, left = 0, 0
        if size is not None:
            top, left = (int(rng.integers(max(0, side - size) + 1)) for side in (height, width))
            height, width = min(size, height), min(size, width)
        if self.layout.order is not None:
            side = self.layout.patch * self.layout.group
            if min(height, width) < side:
                raise DataError(f"{image.path}: {too_small((height, width), side)}")
            height, width = height // side * side, width // side * side
        return Window(top, left, height, width)


def _if_there(joining: Future[_Joined] | None) -> Batch | None:
    """A batch that is joined by now. What went wrong is told in its turn."""
    if joining is None or not joining.done() or joining.cancelled() or joining.exception() is not None:
        return None
    return joining.result().batch


def too_small(size: tuple[int, int], side: int) -> str:
    """What is wrong with an image of (height, width) pixels where the smallest part is `side` pixels wide and high."""
    return (
        f"{size[1]} x {size[0]} pixels do not fill one patch of {side} x {side}; leave it out, or give a lower --patch"
    )


def _in_order(places: list[tuple[int, int]], groups: Groups, order: Order) -> tuple[list[tuple[int, int]], Groups]:
    """All groups of an image, which were at these places, as a sequence, numbered along it."""
    row, column = (groups.coordinates - groups.coordinates.amin(dim=0)).unbind(-1)
    rows, columns = int(row.max()) + 1, int(column.max()) + 1
    chosen = torch.argsort(row * columns + column)[permutation(rows, columns, order)]
    ordered = groups._replace(
        coordinates=groups.coordinates[chosen],
        number=torch.arange(len(chosen)),
        mask=None if groups.mask is None else groups.mask[chosen],
    )
    return [places[number] for number in chosen.tolist()], ordered
