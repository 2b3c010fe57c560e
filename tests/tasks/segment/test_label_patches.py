"""Labels are read at the place of the pixels and turned as they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.pictures import save

from fitcli.annotations.class_table import IGNORED, ClassTable
from fitcli.annotations.labels import LabelRules
from fitcli.data.batch import Item
from fitcli.data.dataset import Sample
from fitcli.data.place import BackgroundRule, Layout, PlaceRules
from fitcli.data.read_item import Reading, read_item
from fitcli.distributed.world import Axis
from fitcli.images.array_image import ArrayReader
from fitcli.images.open import open_image
from fitcli.images.window import Window
from fitcli.patches.cutting import read_patches
from fitcli.patches.grid import PatchGrid
from fitcli.patches.preprocessing import CURRENT_RULES, Preprocessing
from fitcli.runs.augmentations import parse_augmentations
from fitcli.tasks.segment.label_patches import LabelPatches, LabelReader, without_missing

PATCH, GROUP = 4, 2
CLASSES = 200
TABLE = ClassTable(tuple(f"class {number}" for number in range(CLASSES)), tuple(range(CLASSES)))
GREY = Preprocessing(channels=1, dtype="uint8", mean=(100.0,), std=(50.0,), rules=CURRENT_RULES)
READER = LabelReader(table=TABLE, rules=LabelRules(), patch=PATCH, group=GROUP)
LAYOUT = Layout(patch=PATCH, group=GROUP)


def reading(preprocessing: Preprocessing = GREY, marked: bool = True, **rules: Any) -> Reading:
    return Reading(
        layout=LAYOUT, rules=PlaceRules(seed=1, **rules), preprocessing=preprocessing, targets=READER, marked=marked
    )


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    """An image each of whose pixels has a value of its class; neighbours differ, and no turn leaves them in place."""
    values = np.random.default_rng(0).integers(1, CLASSES, (37, 45, 1)).astype(np.uint8)
    return Sample(save(tmp_path / "image.png", values), save(tmp_path / "labels.png", values))


def real_pixels(item: Item) -> tuple[torch.Tensor, torch.Tensor]:
    """Return pixels and labels [count p] of the patches that are no padding."""
    mask = item.place.groups.mask
    real = torch.ones(item.target.shape[:2], dtype=torch.bool) if mask is None else mask
    return item.patches[real], item.target[real]


RULES: dict[str, dict[str, Any]] = {
    "whole": {},
    "turned": {"augment": True},
    "windows": {"size": 19},
    "turned windows": {"size": 19, "augment": True},
    "shifted": {"shift_canvas": 30},
    "shifted, turned windows": {"size": 22, "shift_canvas": 30, "augment": True},
    "without background": {"background": BackgroundRule(0.01, GREY), "augment": True},
}


@pytest.mark.walk(3)
@pytest.mark.parametrize("rules", RULES)
def test_labels_lie_where_their_pixels_lie(sample: Sample, rules: str) -> None:
    quarters, labelled = set[tuple[int, bool]](), 0
    for index in range(40 if "turned" in rules else 8):
        item = read_item(reading(**RULES[rules]), sample, 0, index, Axis())
        pixels, labels = real_pixels(item)
        assert pixels.shape == labels.shape
        known = labels != IGNORED
        assert torch.equal(pixels[known], labels[known])
        quarters.add((item.place.quarters, item.place.mirror))
        window = item.place.window
        # All pixels of the window have their label, and nothing else has.
        assert int(known.sum()) == window.area == int((item.target != IGNORED).sum())
        labelled += window.area
        expected = pixels_of_window(sample, item)
        assert sorted(pixels[known].tolist()) == sorted(expected.ravel().tolist())
    assert labelled > 0
    if "turned" in rules:
        assert len(quarters) == 8


def pixels_of_window(sample: Sample, item: Item) -> np.ndarray[Any, Any]:
    with open_image(sample.path) as image:
        return image.read(item.place.window)


def test_margins_and_padding_have_no_label(sample: Sample) -> None:
    """The pixels there repeat those of the edge."""
    for index in range(10):
        item = read_item(reading(shift_canvas=9), sample, 0, index, Axis())
        place = item.place
        y, x = torch.meshgrid(torch.arange(place.grid.padded[0]), torch.arange(place.grid.padded[1]), indexing="ij")
        top, left = place.margin
        inside = (y >= top) & (y < top + 37) & (x >= left) & (x < left + 45)
        side = PATCH * GROUP
        for (row, column), labels in zip(place.positions, item.target, strict=True):
            own = inside[row * side : (row + 1) * side, column * side : (column + 1) * side]
            patches = own.reshape(GROUP, PATCH, GROUP, PATCH).transpose(1, 2).reshape(GROUP**2, PATCH**2)
            assert torch.equal(labels != IGNORED, patches)


@pytest.mark.parametrize("size", [None, 30])
def test_labels_follow_enlarged_and_reduced_images(tmp_path: Path, size: int | None) -> None:
    """A bright disc has the class 1: a label and its pixel lie on the same side of the edge, at every size."""
    y, x = np.mgrid[:61, :80]
    disc = (((y - 25) ** 2 + (x - 41) ** 2) < 18**2)[..., None]
    image = save(tmp_path / "image.png", np.where(disc, 240, 20).astype(np.uint8))
    sample = Sample(image, save(tmp_path / "labels.png", disc.astype(np.uint8)))
    areas = set()
    for index in range(12):
        rules = reading(size=size, augment=True, augmentations=parse_augmentations("flips,scale=0.5"))
        item = read_item(rules, sample, 0, index, Axis())
        known = item.target != IGNORED
        assert int(known.sum()) == item.place.window.area
        pixels, labels = item.patches[known], item.target[known]
        assert ((pixels > 128) == (labels == 1)).float().mean() > 0.985
        areas.add(int((labels == 1).sum()))
    assert len(areas) > 8
    assert size is not None or max(areas) > 2 * min(areas)


def test_changed_pixels_keep_their_labels(sample: Sample) -> None:
    chosen = parse_augmentations("flips,blur=2,noise=0.5")
    for index in range(8):
        plain, changed = (
            read_item(reading(augment=True, augmentations=each), sample, 0, index, Axis())
            for each in (parse_augmentations("flips"), chosen)
        )
        assert torch.equal(plain.target, changed.target)
        assert plain.place.window == changed.place.window


@pytest.mark.parametrize("augment", [False, True])
def test_missing_pixels_have_no_label(tmp_path: Path, augment: bool) -> None:
    """In floats, NaN in one channel is enough."""
    values = np.random.default_rng(0).integers(1, CLASSES, (21, 30, 1)).astype(np.uint8)
    pixels = np.concatenate([values, values], axis=-1).astype(np.float32)
    holes = np.random.default_rng(1).random((21, 30)) < 0.3
    pixels[holes, np.random.default_rng(2).integers(0, 2, int(holes.sum()))] = np.nan
    sample = Sample(save(tmp_path / "image.tif", pixels), save(tmp_path / "labels.png", values))
    floats = Preprocessing(channels=2, dtype="float32", mean=(100.0, 100.0), std=(50.0, 50.0), rules=CURRENT_RULES)
    for index in range(8):
        item = read_item(reading(floats, augment=augment), sample, 0, index, Axis())
        known = item.target != IGNORED
        assert int(known.sum()) == int((~holes).sum())
        both = item.patches.unflatten(-1, (PATCH**2, 2))[known]
        assert torch.equal(both, item.target[known].float()[:, None].expand(-1, 2))


def test_whole_images_lose_the_labels_of_missing_pixels(sample: Sample) -> None:
    """As validation reads them: the nodata value, and one NaN of several channels."""
    with open_image(sample.path) as image:
        values = image.read(Window(0, 0, 37, 45))
    grid, floats = PatchGrid((37, 45), PATCH, GROUP), np.concatenate([values, values], axis=-1).astype(np.float32)
    floats[2, 3, 1], floats[30, 40, 0] = np.nan, np.inf
    places = list(grid.coordinates())[::2]
    two = replace(GREY, channels=2, dtype="float32", mean=(100.0, 100.0), std=(50.0, 50.0))
    for image, preprocessing, gone in (
        (ArrayReader(values), GREY, np.zeros((37, 45), bool)),
        (ArrayReader(values, nodata=int(values[0, 0, 0])), GREY, values[..., 0] == values[0, 0, 0]),
        (ArrayReader(floats), two, ~np.isfinite(floats).all(axis=-1)),
    ):
        numbers = read_patches(ArrayReader(values), grid, places, fill=IGNORED)
        expected = np.where(gone[..., None], np.uint8(IGNORED), values)
        found = without_missing(numbers, image, grid, places, preprocessing)
        assert torch.equal(found, read_patches(ArrayReader(expected), grid, places, fill=IGNORED))


def test_images_without_labels_have_none(sample: Sample) -> None:
    unlabelled = Sample(sample.path, None)
    item = read_item(reading(augment=True), unlabelled, 0, 0, Axis())
    assert item.target.shape == (len(item.place.positions), GROUP**2, PATCH**2)
    assert (item.target == IGNORED).all()
    assert READER.stratum(unlabelled) == READER.stratum(sample)


def test_processes_that_share_an_image_read_the_labels_of_their_groups(sample: Sample) -> None:
    rules = reading(augment=True, shift_canvas=9)
    whole = read_item(rules, sample, 0, 3, Axis()).target
    parts = [read_item(rules, sample, 0, 3, Axis(rank, 4)).target for rank in range(4)]
    assert torch.equal(torch.cat(parts), whole)
    many = [read_item(rules, sample, 0, 3, Axis(rank, 64)).target for rank in range(64)]
    assert any(len(each) == 0 for each in many)
    assert torch.equal(torch.cat(many), whole)


def test_labels_of_a_batch_are_joined_in_order_and_move_as_one() -> None:
    one, other = torch.zeros(2, 4, 16, dtype=torch.uint8), torch.ones(3, 4, 16, dtype=torch.uint8)
    joined = READER.join([one, other])
    assert torch.equal(joined.numbers, torch.cat([one, other]))
    moved = joined.map_tensors(lambda tensor: tensor + 1)
    assert moved == LabelPatches(moved.numbers)
    assert torch.equal(moved.numbers, joined.numbers + 1)


def test_polygons_are_read_as_label_images_are(sample: Sample, tmp_path: Path) -> None:
    """A rectangle: what it does not cover is ignored, or of the class that the rules name."""
    file = tmp_path / "labels.geojson"
    ring = "[[5,3],[20,3],[20,30],[5,30],[5,3]]"
    file.write_text(
        '{"type":"FeatureCollection","features":[{"type":"Feature","geometry":{"type":"Polygon","coordinates":['
        f'{ring}]}},"properties":{{"classification":{{"name":"class 9"}}}}}}]}}'
    )
    for elsewhere, others in ((None, IGNORED), ("class 4", 4)):
        reader = replace(READER, rules=LabelRules(elsewhere))
        item = read_item(replace(reading(), targets=reader), Sample(sample.path, file), 0, 0, Axis())
        grid, image = item.place.grid, np.full((37, 45), others)
        image[3:30, 5:20] = 9
        for (row, column), labels in zip(item.place.positions, item.target, strict=True):
            for number in range(GROUP**2):
                top = (row * GROUP + number // GROUP) * PATCH
                left = (column * GROUP + number % GROUP) * PATCH
                part = image[top : top + PATCH, left : left + PATCH]
                assert torch.equal(
                    labels[number].reshape(PATCH, PATCH)[: part.shape[0], : part.shape[1]].long(), torch.tensor(part)
                )
        assert grid.size == (37, 45)
