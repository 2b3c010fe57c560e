"""An item has the pixels that the model expects, at its place; an image that has none is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from support.loading import GROUP, PATCH, SIZES, pixels, reading, samples_in
from support.pictures import endless_image, save

from fitcli.data.dataset import Sample
from fitcli.data.read_item import read_item
from fitcli.distributed.world import Axis
from fitcli.errors import DataError, ImageError
from fitcli.patches.cutting import to_patches
from fitcli.patches.grid import PatchGrid
from fitcli.runs.augmentations import KINDS, parse_augmentations

ALONE = Axis()


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    return samples_in(tmp_path_factory.mktemp("images"))


def test_a_whole_image(samples: list[Sample]) -> None:
    for number, sample in enumerate(samples):
        item = read_item(reading(), sample, 0, number, ALONE)
        assert torch.equal(item.patches, to_patches(pixels(number), PatchGrid(SIZES[number], PATCH, GROUP)))
        assert (item.target, item.path, item.place.showing) == (number, sample.path, (0, number))


def test_processes_read_the_groups_of_an_image_in_parts(samples: list[Sample]) -> None:
    """Together they read all groups in order; of four processes, some have none of the two groups of a small image."""
    for number in (0, 1):
        whole = read_item(reading(augment=True), samples[number], 3, number, ALONE)
        parts = [read_item(reading(augment=True), samples[number], 3, number, Axis(rank, 4)) for rank in range(4)]
        assert torch.equal(torch.cat([part.patches for part in parts]), whole.patches)
        assert all(torch.equal(part.place.groups.coordinates, whole.place.groups.coordinates) for part in parts)
    assert [len(part.patches) for part in parts].count(0) == 2


@pytest.mark.parametrize("kind", [*KINDS, ",".join(KINDS)])
def test_augmented_images_are_the_same_in_parts(samples: list[Sample], kind: str) -> None:
    """The processes of an image, and windows of any groups, see the pixels of one image that is changed as a whole."""
    rules = reading(augment=True, augmentations=parse_augmentations(kind))
    changed = 0
    for epoch in range(4):
        whole = read_item(rules, samples[0], epoch, 0, ALONE)
        parts = [read_item(rules, samples[0], epoch, 0, Axis(rank, 3)) for rank in range(3)]
        assert torch.equal(torch.cat([part.patches for part in parts]), whole.patches)
        plain = read_item(reading(augment=True), samples[0], epoch, 0, ALONE)
        changed += plain.patches.shape != whole.patches.shape or not torch.equal(plain.patches, whole.patches)
    assert (changed > 0) == (kind != "flips"), "the usual ones have flips; light comes after normalisation"


def test_pixels_are_converted_to_what_the_model_expects(tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 2**16, (8, 8, 1), np.uint16)
    item = read_item(reading(), Sample(save(tmp_path / "grey.tif", grey), 0), 0, 0, ALONE)
    expected = to_patches(np.repeat(np.rint(grey / 257).astype(np.uint8), 3, -1), PatchGrid((8, 8), PATCH, GROUP))
    assert item.patches.dtype == torch.uint8
    assert (item.patches.int() - expected.int()).abs().max() <= 1


def test_an_image_that_claims_more_pixels_than_there_is_memory(tmp_path: Path) -> None:
    sample = Sample(endless_image(tmp_path / "endless.zarr"), 0)
    message = r"endless\.zarr: its .* pixels take .* are free; train on windows with --size"
    with pytest.raises(ImageError, match=message):
        read_item(reading(), sample, 0, 0, ALONE)
    assert read_item(reading(size=16), sample, 0, 0, ALONE).patches.shape == (4, GROUP**2, 3 * PATCH**2)


def test_an_image_of_another_kind_is_refused(tmp_path: Path) -> None:
    sample = Sample(save(tmp_path / "five.tif", np.zeros((8, 8, 5), np.uint8)), 0)
    with pytest.raises(DataError, match=r"five\.tif: has 5 channels"):
        read_item(reading(), sample, 0, 0, ALONE)
