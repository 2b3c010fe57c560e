"""Targets of training items: at the place of the pixels, per group, joined in batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.detect_models import LAYOUT, NAMES, boxed, objects_of
from support.polygons import packed, square

from fitcli.annotations.objects.object_set import ObjectSource
from fitcli.data.dataset import Sample
from fitcli.data.place import BackgroundRule, Layout, PlaceRules, draw_place
from fitcli.distributed.world import Axis
from fitcli.errors import DataError
from fitcli.images.open import open_image
from fitcli.images.window import Window
from fitcli.patches.preprocessing import Preprocessing
from fitcli.tasks.detect.loss import CELLS_PER_OBJECT
from fitcli.tasks.detect.object_reader import (
    CellTargets,
    ObjectReader,
    counted_cells,
    missing_cells,
    nothing_counted,
)

READER = ObjectReader(NAMES, LAYOUT)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return boxed(tmp_path, images=3)


def read(data: Path, number: int = 0, share: Axis | None = None, reader: ObjectReader = READER, **rules: Any) -> Any:
    path = data.parent / f"images/{number}.png"
    sample = Sample(path, ObjectSource(data, f"images/{number}.png"))
    with open_image(path) as image:
        place = draw_place(image, Layout(patch=4, group=3), PlaceRules(**rules), 0, number, share or Axis())
        return reader.read(sample, place, image, None), place


def test_every_object_counts_once(data: Path) -> None:
    targets, place = read(data)
    assert targets.objects == 2
    assert len(targets.counted) == len(place.positions) == 8
    # Of 24 x 40 pixels all lie in the grid of 2 x 4 groups of 12; the last group has 4 columns.
    assert int(targets.counted.sum()) == 12 * 20
    assert targets.weight() == pytest.approx(2 + 240 / CELLS_PER_OBJECT)


@pytest.mark.parametrize("rules", [{}, {"augment": True, "seed": 5}, {"shift_canvas": 9}, {"size": 16, "seed": 2}])
def test_processes_share_the_targets(data: Path, rules: dict[str, Any]) -> None:
    whole, _ = read(data, **rules)
    parts = [read(data, share=Axis(rank, 2), **rules)[0] for rank in range(2)]
    joined = READER.join(parts)
    for name in ("counted", "heat_keys", "heat", "box_keys", "sides", "weights"):
        assert torch.equal(getattr(joined, name), getattr(whole, name)), name
    assert joined.objects == whole.objects
    assert joined.weight() == pytest.approx(whole.weight())


@pytest.mark.parametrize("seed", range(8))
def test_boxes_turn_with_their_pixels(data: Path, seed: int) -> None:
    """The cell in the middle of each object shows its colour, however the image is turned."""
    from fitcli.data.augmentation import turn_patches
    from fitcli.patches.cutting import read_patches

    targets, place = read(data, augment=True, seed=seed, shift_canvas=5)
    with open_image(data.parent / "images/0.png") as image:
        patches = read_patches(place.canvas(image), place.grid, place.positions)
    turned = turn_patches(patches, place.grid, place.quarters, place.mirror).view(-1, 9, 4, 4, 3)
    middles = targets.heat_keys[targets.heat == 1]
    assert len(middles) == 2
    for key in middles.tolist():
        cell_key, kind = divmod(key, len(NAMES))
        group, number = divmod(cell_key, LAYOUT.count)
        patch, cell = divmod(number, 4)
        y, x = cell // 2 * 2, cell % 2 * 2
        pixels = turned[group, patch, y : y + 2, x : x + 2].float().mean(dim=(0, 1))
        assert (pixels[0] > pixels[2]) == (NAMES[kind] == "iron")


@pytest.mark.parametrize("number", range(6))
def test_boxes_follow_enlarged_and_reduced_images(data: Path, number: int) -> None:
    """The box of the cell in the middle of each object is about as large as the object is then."""
    from fitcli.data.image_change import draw_change
    from fitcli.data.read_item import Reading, read_item
    from fitcli.runs.augmentations import parse_augmentations

    chosen = parse_augmentations("scale=1")
    rgb = Preprocessing(channels=3, dtype="uint8", mean=(0.0,) * 3, std=(1.0,) * 3)
    sample = Sample(data.parent / "images/0.png", ObjectSource(data, "images/0.png"))

    def sides_of(rules: PlaceRules) -> list[float]:
        reading = Reading(layout=Layout(patch=4, group=3), rules=rules, preprocessing=rgb, targets=READER)
        targets = read_item(reading, sample, 0, number, Axis()).target
        middles = set((targets.heat_keys[targets.heat == 1] // len(NAMES)).tolist())
        each = zip(targets.box_keys.tolist(), targets.sides.tolist(), strict=True)
        found = [row for key, row in each if key in middles]
        return sorted((row[0] + row[2]) * (row[1] + row[3]) for row in found)

    factor = draw_change(chosen, 3, 3, 0, number).factor
    plain, scaled = sides_of(PlaceRules(seed=3)), sides_of(PlaceRules(seed=3, augment=True, augmentations=chosen))
    assert len(plain) == len(scaled) == 2
    assert scaled == pytest.approx([area / factor**2 for area in plain], rel=0.15)


def test_an_image_without_annotations_counts_nothing(data: Path) -> None:
    path = data.parent / "images/0.png"
    with open_image(path) as image:
        place = draw_place(image, Layout(patch=4, group=3), PlaceRules(), 0, 0, Axis())
        targets = READER.read(Sample(path, None), place, image, None)
    assert targets.weight() == 0
    assert nothing_counted(3, LAYOUT, 2).counted.shape == (3, LAYOUT.count)


def test_parts_and_devices(data: Path) -> None:
    targets, _ = read(data)
    assert isinstance(targets, CellTargets)
    whole = targets.part(slice(0, 8))
    for name in ("heat", "sides", "weights"):
        parts = [getattr(targets.part(slice(n, n + 3)), name) for n in (0, 3, 6)]
        assert torch.equal(torch.cat(parts), getattr(whole, name))
    second = targets.part(slice(2, 8), torch.device("cpu"))
    count = len(second.heat_keys)
    assert 0 < count < len(whole.heat_keys)
    assert torch.equal(second.heat_keys, whole.heat_keys[-count:] - 2 * LAYOUT.count * 2)
    moved = targets.map_tensors(lambda tensor: tensor.clone())
    assert moved.weight() == targets.weight()


def test_ignored_areas_and_the_outside_do_not_count() -> None:
    objects = objects_of([], ignored=packed([square(0, 0, 6)]), regions=packed([square(0, 0, 12)]))
    grid = LAYOUT.grid((12, 18))
    counted = counted_cells(objects, LAYOUT, grid, [(0, 0), (0, 1)], Window(0, 0, 12, 18))
    assert int(counted[0].sum()) == 36 - 9
    assert not counted[1].any()
    shifted = counted_cells(objects_of([]), LAYOUT, grid, [(0, 0)], Window(4, 6, 8, 12), margin=(4, 6))
    assert int(shifted[0].sum()) == 4 * 3


def test_cells_without_pixels() -> None:
    marks = torch.zeros(1, 9, 16 * 3, dtype=torch.bool)
    marks[0, 4].view(4, 4, 3)[:2, :2] = True
    marks[0, 4].view(4, 4, 3)[2, 2] = True
    assert np.flatnonzero(missing_cells(marks, LAYOUT)[0]).tolist() == [16]


def test_an_object_in_background_is_an_error(data: Path) -> None:
    """All groups but the one that varies most are left out."""
    reader = ObjectReader(NAMES, LAYOUT, refuses_background=True)
    pixels = Preprocessing(channels=3, dtype="uint8", mean=(1.0,) * 3, std=(1.0,) * 3)
    with pytest.raises(
        DataError, match=r"0\.png: --skip-background leaves out groups with \d objects?, at \(\d+, \d+\)"
    ):
        read(data, reader=reader, background=BackgroundRule(1.0, pixels))
    assert read(data, reader=reader, background=BackgroundRule(0.0, pixels))[0].objects == 2
