"""Read one training item: the pixels and the target of a sample at its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from fitcli.data.altered_image import AlteredImage
from fitcli.data.augmentation import turn_patches
from fitcli.data.batch import BatchTarget, Item
from fitcli.data.dataset import Sample
from fitcli.data.image_change import UNCHANGED, draw_change, resized_anchors
from fitcli.data.place import Layout, Place, PlaceRules, draw_place
from fitcli.distributed.world import Axis
from fitcli.errors import DataError
from fitcli.images.base import ImageReader
from fitcli.images.read_as import open_as
from fitcli.patches.cutting import read_marked_patches, read_patches
from fitcli.patches.preprocessing import Preprocessing


class TargetReader(Protocol):
    """Reads the targets of samples for a task. Only the task interprets them."""

    def read(self, sample: Sample, place: Place, image: ImageReader, missing: Tensor | None) -> Any:
        """Return the target of a sample at a place: a class, a value, a label image turned as the pixels are, ...

        Args:
            sample: The image and its target.
            place: The part of the image that the step sees.
            image: The open image.
            missing: Marks of missing values of the patches, [g n p] bool, not turned; None if none are, or if the
                reading does not mark them.

        Raises:
            DataError, ImageError: The target cannot be read.
        """

    def join(self, targets: Sequence[Any]) -> BatchTarget:
        """Join the targets of the images of a batch, in their order."""

    def stratum(self, sample: Sample) -> int:
        """Return the stratum of a sample, such as its class.

        Batches hold all strata evenly, and another sample of its stratum replaces an unreadable one.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """How the images of a run are read.

    Attributes:
        layout: Layout that the model wants.
        rules: Rules by which places are drawn.
        preprocessing: Pixel format and normalisation that the model expects.
        targets: Reader of the targets.
        marked: Whether missing pixels are marked, for scores that leave them out.
    """

    layout: Layout
    rules: PlaceRules
    preprocessing: Preprocessing
    targets: TargetReader
    marked: bool = False


def read_item(reading: Reading, sample: Sample, epoch: int, index: int, group_share: Axis) -> Item:
    """Read a sample as a step sees it in an epoch.

    Args:
        reading: Rules by which images are read.
        sample: The image and its target.
        epoch: Epoch.
        index: Number of the sample that determines the place. `sample` may be its replacement.
        group_share: The processes that read a part of the groups each.

    Raises:
        DataError, ImageError: The image cannot be read, or is not of the kind that the model is trained on.
    """
    rules, layout, preprocessing = reading.rules, reading.layout, reading.preprocessing
    change = UNCHANGED
    if rules.augment:
        change = draw_change(rules.augmentations, preprocessing.channels, rules.seed, epoch, index)
    with open_as(sample.path, preprocessing.read_as) as stored:
        if reason := preprocessing.mismatch(stored.info, training=True):
            raise DataError(f"{sample.path}: {reason}")
        # Targets are read at the size of the pixels, so they follow.
        image = change.resized(stored, rules.least_side(layout))
        anchors = resized_anchors(sample.anchors, stored.info.size, image.info.size)
        place = draw_place(image, layout, rules, epoch, index, group_share, anchors)
        shown = AlteredImage(image, change, preprocessing) if change.changes_pixels else image
        patches, missing = _read_pixels(shown, place, preprocessing, reading.marked)
        target = reading.targets.read(sample, place, image, missing)
    return Item(
        patches=turn_patches(patches, place.grid, place.quarters, place.mirror),
        place=place,
        target=target,
        path=sample.path,
        missing=None if missing is None else turn_patches(missing, place.grid, place.quarters, place.mirror),
    )


def _read_pixels(
    image: ImageReader, place: Place, preprocessing: Preprocessing, marked: bool
) -> tuple[Tensor, Tensor | None]:
    """Return [g n p] of the groups that this process reads, and which values are missing; g may be 0."""
    grid, canvas = place.grid, place.canvas(image)
    if place.positions and marked:
        return read_marked_patches(canvas, grid, place.positions, preprocessing)
    if place.positions:
        convert = partial(preprocessing.convert, info=canvas.info)
        return read_patches(canvas, grid, place.positions, convert), None
    values = preprocessing.channels * grid.patch**2
    return torch.empty(0, grid.group**2, values, dtype=getattr(torch, preprocessing.dtype)), None
