"""One training image as a step sees it: which part, moved, thinned out, turned, as (seed, epoch, place) decide."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fitcli.data.augmentation import beside_margin, thinned, turned_groups, turned_patches, without_margin
from fitcli.data.batch import Item
from fitcli.data.dataset import Sample
from fitcli.distributed.world import Axis
from fitcli.errors import DataError
from fitcli.images.base import ImageReader
from fitcli.images.crop import Crop
from fitcli.images.open import open_image
from fitcli.images.shifted import Shifted
from fitcli.images.window import Window
from fitcli.memory.size_checks import check_pixels
from fitcli.patches.background import foreground
from fitcli.patches.cutting import groups_of, read_patches
from fitcli.patches.grid import PatchGrid
from fitcli.patches.group_order import Order, permutation
from fitcli.patches.preprocessing import Preprocessing
from fitcli.runs.train_settings import TrainSettings
from models.groups import Groups, span

ORIGINS = 64
"""The grid of a training image starts at a random group coordinate below this, so that the coordinates of images of up
to this many groups more than the training images have are nothing new to the model."""

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


@dataclass(frozen=True, slots=True)
class ItemReader:
    """Reads images of a data set as they are trained on.

    Attributes:
        settings: Window size, augmentation, seed.
        preprocessing: What the model expects of pixels.
        layout: Of the patches.
        group_share: The processes that read a part of the groups each, see `models.groups.span`.
    """

    settings: TrainSettings
    preprocessing: Preprocessing
    layout: Layout
    group_share: Axis

    def read(self, sample: Sample, epoch: int, index: int) -> Item:
        """An image as it is shown in an epoch in the place of the sample of this number.

        Raises:
            DataError, ImageError: It cannot be read, or is not of the kind that the model is trained on.
        """
        path = sample.path
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
        return Item(patches, groups, sample.label, gain, shift, (epoch, index), path, sample.targets)

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
