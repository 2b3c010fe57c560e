"""Reads the labels of a training item: class numbers in patches, at the place of the pixels and turned as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from fitcli.annotations.class_table import IGNORED, ClassTable
from fitcli.annotations.label_rules import LabelRules
from fitcli.annotations.labels import open_labels
from fitcli.data.augmentation import turn_patches
from fitcli.data.dataset import Sample
from fitcli.data.place import Place
from fitcli.images.base import ImageReader
from fitcli.patches.cutting import read_marked_patches, read_patches
from fitcli.patches.grid import PatchGrid
from fitcli.patches.preprocessing import Preprocessing


@dataclass(frozen=True, slots=True)
class LabelPatches:
    """Labels of the pixels of a batch.

    Attributes:
        numbers: Class numbers [g n patch*patch] uint8; `IGNORED` without a label.
    """

    numbers: Tensor

    def map_tensors(self, move: Callable[[Tensor], Tensor]) -> LabelPatches:
        """Return the same with `move` applied to the tensor."""
        return LabelPatches(move(self.numbers))


@dataclass(frozen=True, slots=True)
class LabelReader:
    """Reads the label files of a run; see `TargetReader` for its members.

    Attributes:
        table: Classes of the run.
        rules: Rules by which labels are read.
        patch: Pixels per side of a patch.
        group: Patches per side of a group.
    """

    table: ClassTable
    rules: LabelRules
    patch: int
    group: int

    def read(self, sample: Sample, place: Place, image: ImageReader, missing: Tensor | None) -> Tensor:
        """Return the class numbers [g n patch*patch] uint8 of the groups that this process reads."""
        shape = (len(place.positions), self.group**2, self.patch**2)
        if sample.target is None or not place.positions:
            return torch.full(shape, IGNORED, dtype=torch.uint8)
        with open_labels(Path(sample.target), image, self.table, self.rules) as labels:
            numbers = read_patches(place.canvas(labels, IGNORED), place.grid, place.positions, fill=IGNORED)
        if missing is not None:
            numbers[_any_channel(missing, numbers)] = IGNORED
        return turn_patches(numbers, place.grid, place.quarters, place.mirror)

    def join(self, targets: Sequence[Tensor]) -> LabelPatches:
        """Join the labels of the images of a batch."""
        return LabelPatches(torch.cat(list(targets)))

    def stratum(self, sample: Sample) -> int:
        """Return 0: images are not sorted by what they show."""
        return 0


def without_missing(
    numbers: Tensor,
    image: ImageReader,
    grid: PatchGrid,
    places: Sequence[tuple[int, int]],
    preprocessing: Preprocessing,
) -> Tensor:
    """Return class numbers [g n patch*patch] of groups of an image, without labels where a pixel is missing."""
    if image.info.nodata is None and image.info.dtype.kind != "f":
        return numbers
    _, missing = read_marked_patches(image, grid, places, preprocessing)
    if missing is None:
        return numbers
    return numbers.masked_fill(_any_channel(missing, numbers), IGNORED)


def _any_channel(missing: Tensor, numbers: Tensor) -> Tensor:
    """Return which pixels have a missing value [g n patch*patch], from marks of values [g n p]."""
    return missing.reshape(*numbers.shape, -1).any(dim=-1)
