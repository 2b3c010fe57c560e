"""Makes small colour images and loaders of them, and reads what their batches hold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from support.pictures import save

from fitcli.data.batch import Batch
from fitcli.data.dataset import Sample
from fitcli.data.loader import Loader
from fitcli.data.place import Layout, PlaceRules
from fitcli.data.read_item import Reading
from fitcli.patches.cutting import to_pixels
from fitcli.patches.grid import PatchGrid
from fitcli.patches.preprocessing import Preprocessing
from fitcli.tasks.class_targets import ClassLabelReader, ClassLabels

PATCH, GROUP = 4, 2
SIZES = ((20, 30), (9, 8), (33, 12), (16, 16), (7, 40))
RGB = Preprocessing(channels=3, dtype="uint8", mean=(0.0,) * 3, std=(1.0,) * 3)


def pixels(number: int) -> NDArray[np.uint8]:
    """Return the pixels of image `number`, of `SIZES[number]`."""
    return np.random.default_rng(number).integers(0, 256, (*SIZES[number], 3), np.uint8)


def samples_in(folder: Path) -> list[Sample]:
    """Write an image of each size. The class of an image is its number, so that a batch shows which images it holds."""
    return [Sample(save(folder / f"{number}.png", pixels(number)), number) for number in range(len(SIZES))]


def broken_file(folder: Path) -> Path:
    """Write an image whose end is missing."""
    path = save(folder / "broken.png", pixels(1))
    path.write_bytes(path.read_bytes()[:-40])
    return path


def reading(**rules: Any) -> Reading:
    """Read whole images as they are, unless the rules change that. The target of an image is its class."""
    layout, targets = Layout(patch=PATCH, group=GROUP), ClassLabelReader()
    return Reading(layout=layout, rules=PlaceRules(**rules), preprocessing=RGB, targets=targets)


def loader(samples: Sequence[Sample], threads: int = 2, batch_size: int = 2, **rules: Any) -> Loader:
    """Return a loader that allows no bad images, see `reading`."""
    return Loader(samples, reading(**rules), batch_size, threads)


def labels_of(batch: Batch) -> list[int]:
    """Return the class of each image of a batch."""
    assert isinstance(batch.target, ClassLabels)
    labels: list[int] = batch.target.numbers.tolist()
    return labels


def images(batch: Batch, sizes: Sequence[tuple[int, int]]) -> list[NDArray[Any]]:
    """Join the patches of each image of a batch to pixels."""
    parts = batch.patches.split(batch.groups.counts())
    grids = [PatchGrid(size, PATCH, GROUP) for size in sizes]
    return [to_pixels(part, grid) for part, grid in zip(parts, grids, strict=True)]


def real_patches(batch: Batch) -> torch.Tensor:
    """Return [g n]: whether a patch is no padding."""
    mask = batch.groups.mask
    return torch.ones(batch.patches.shape[:2], dtype=torch.bool) if mask is None else mask


def lay_out(batch: Batch) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Lay the groups of the only image of a batch at their coordinates; return its pixels, and which are no padding."""
    side = PATCH * GROUP
    positions = batch.groups.coordinates - batch.groups.coordinates.amin(0)
    height, width = ((positions.amax(0) + 1) * side).tolist()
    image, mask = np.zeros((height, width, 3), np.uint8), np.zeros((height, width), bool)
    for (row, column), patches, real in zip(positions.tolist(), batch.patches, real_patches(batch), strict=True):
        for number in range(GROUP**2):
            top, left = row * side + number // GROUP * PATCH, column * side + number % GROUP * PATCH
            image[top : top + PATCH, left : left + PATCH] = patches[number].reshape(PATCH, PATCH, 3)
            mask[top : top + PATCH, left : left + PATCH] = real[number]
    return image, mask


def assert_same_batch(one: Batch, other: Batch) -> None:
    """Assert that two batches have the same pixels, groups and classes."""
    for name in ("patches", "gain", "shift"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name
    assert labels_of(one) == labels_of(other)
    for mine, theirs in zip(one.groups, other.groups, strict=True):
        assert torch.equal(mine, theirs) if isinstance(mine, torch.Tensor) else mine == theirs
