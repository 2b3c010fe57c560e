"""A place follows from the seed, the epoch and the number of a sample, and an item shows the pixels at its place."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support.pictures import save

from fitcli.data.dataset import Anchors, Sample
from fitcli.data.place import ORIGINS, BackgroundRule, Layout, Place, PlaceRules, draw_place
from fitcli.data.read_item import Reading, read_item
from fitcli.distributed.world import Axis
from fitcli.errors import DataError
from fitcli.images.array_image import ArrayReader
from fitcli.patches.preprocessing import Preprocessing
from fitcli.tasks.class_targets import ClassLabelReader

PATCH, GROUP = 4, 2
SIDE = PATCH * GROUP
LAYOUT = Layout(patch=PATCH, group=GROUP)
RGB = Preprocessing(channels=3, dtype="uint8", mean=(0.0,) * 3, std=(1.0,) * 3)
PIXELS = np.random.default_rng(0).integers(0, 256, (37, 50, 3), np.uint8)

CASES: dict[str, dict[str, Any]] = {
    "whole": {},
    "window": {"size": 20},
    "turned": {"augment": True},
    "shifted": {"shift_canvas": 13},
    "thinned": {"token_dropout": 0.4},
    "all of it": {"size": 21, "augment": True, "shift_canvas": 13, "token_dropout": 0.4},
}


def draw(
    epoch: int = 0,
    index: int = 0,
    pixels: NDArray[Any] = PIXELS,
    layout: Layout = LAYOUT,
    share: Axis | None = None,
    anchors: Anchors = (),
    **rules: Any,
) -> Place:
    return draw_place(ArrayReader(pixels), layout, PlaceRules(**rules), epoch, index, share or Axis(), anchors)


def values(place: Place) -> dict[str, object]:
    """Everything about a place as plain data, which can be compared."""
    plain = {field.name: getattr(place, field.name) for field in dataclasses.fields(place)}
    groups = [value.tolist() if isinstance(value, torch.Tensor) else value for value in place.groups]
    return {**plain, "groups": groups, "grid": (place.grid.size, place.grid.patch, place.grid.group)}


def turned(array: NDArray[Any], place: Place) -> NDArray[Any]:
    array = np.rot90(array, place.quarters)
    return array[:, ::-1] if place.mirror else array


def canvas(pixels: NDArray[Any], place: Place) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The pixels at a place, padded to whole groups and turned, and which of them are of the image."""
    top, left = place.margin
    window = place.window
    part = pixels[window.top : window.top + window.height, window.left : window.left + window.width]
    below, right = -(top + window.height) % SIDE, -(left + window.width) % SIDE
    edges = ((top, below), (left, right))
    inside = np.pad(np.ones(part.shape[:2], bool), edges)
    return turned(np.pad(part, (*edges, (0, 0)), mode="edge"), place), turned(inside, place)


def cut(array: NDArray[Any], row: int, column: int) -> list[NDArray[Any]]:
    """The patches of a group, each as a list of its values."""
    block = array[row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE]
    return [
        block[y : y + PATCH, x : x + PATCH].reshape(-1) for y in range(0, SIDE, PATCH) for x in range(0, SIDE, PATCH)
    ]


def masks(place: Place) -> NDArray[np.bool_]:
    """[g n], which patches of the groups are no padding."""
    mask = place.groups.mask
    return np.ones((len(place.groups.number), GROUP**2), bool) if mask is None else mask.numpy()


@pytest.mark.walk(3)
@pytest.mark.parametrize("rules", CASES.values(), ids=CASES)
def test_an_item_shows_the_pixels_at_its_place(rules: dict[str, Any], tmp_path: Path) -> None:
    sample = Sample(save(tmp_path / "image.png", PIXELS), 3)
    rules = {"seed": 3, **rules}
    reading = Reading(layout=LAYOUT, rules=PlaceRules(**rules), preprocessing=RGB, targets=ClassLabelReader())
    ways, margins, hidden = set(), set(), 0
    for epoch in range(40):
        item = read_item(reading, sample, epoch, 5, Axis())
        place, groups = item.place, item.place.groups
        assert values(place) == values(draw(epoch, 5, **rules))
        assert (item.target, item.path, place.showing) == (3, sample.path, (epoch, 5))
        pixels, inside = canvas(PIXELS, place)
        holding = {(y // SIDE, x // SIDE) for y, x in np.argwhere(inside).tolist()}
        # The number of each group of the canvas, at the place to which the group is turned.
        numbers = turned(np.arange(place.grid.count).reshape(place.grid.rows, place.grid.columns), place)
        shown, origins = set(), set()
        for patches, position, coordinates, number, kept in zip(
            item.patches, place.positions, groups.coordinates.tolist(), groups.number, masks(place), strict=True
        ):
            ((row, column),) = np.argwhere(numbers == place.grid.columns * position[0] + position[1]).tolist()
            np.testing.assert_array_equal(patches, cut(pixels, row, column))
            assert number == row * numbers.shape[1] + column
            real = np.any(cut(inside, row, column), axis=1)
            assert kept.any(), "no group is empty"
            assert not (kept & ~real).any(), "padding stays padding"
            hidden += int((real & ~kept).sum())
            shown.add((row, column))
            origins.add((coordinates[0] - row, coordinates[1] - column))
        assert shown == holding, "every group that holds a pixel of the image, and no other"
        assert len(origins) == 1, "groups that are neighbours stay neighbours"
        ways.add((place.quarters, place.mirror))
        margins.add(place.margin)
    assert len(ways) == (8 if "augment" in rules else 1)
    assert (len(margins) > 12) == ("shift_canvas" in rules)
    assert (hidden > 0) == ("token_dropout" in rules)


def test_a_place_follows_from_seed_epoch_and_number_alone() -> None:
    rules = CASES["all of it"]
    showings = [(epoch, index) for epoch in range(3) for index in range(3)]
    places = [values(draw(*showing, seed=seed, **rules)) for seed in range(2) for showing in showings]
    again = [values(draw(*showing, seed=seed, **rules)) for seed in (1, 0) for showing in reversed(showings)]
    assert places == again[::-1]
    assert all(one != other for number, one in enumerate(places) for other in places[:number])
    # Another image of this size has the same place.
    other = np.random.default_rng(1).integers(0, 256, PIXELS.shape, np.uint8)
    assert values(draw(pixels=other, **rules)) == places[0]


def test_plain_places_change_nothing() -> None:
    place = draw()
    assert (place.window.height, place.window.width, place.margin) == (37, 50, (0, 0))
    assert (place.quarters, place.mirror, place.gain, place.shift) == (0, False, 1.0, 0.0)
    assert place.groups.coordinates.tolist() == [list(position) for position in place.positions]


def test_augmented_grids_begin_anywhere_unless_the_layout_forbids_it() -> None:
    def origins(layout: Layout, **rules: Any) -> set[tuple[int, ...]]:
        places = [draw(epoch, layout=layout, **rules) for epoch in range(40)]
        return {tuple(place.groups.coordinates.amin(dim=0).tolist()) for place in places}

    fixed = dataclasses.replace(LAYOUT, any_origin=False)
    assert origins(LAYOUT) == origins(LAYOUT, size=20) == {(0, 0)}
    assert origins(fixed) == origins(fixed, augment=True) == {(0, 0)}
    # The grid of a window says nothing about its place in the image.
    for anywhere in (origins(LAYOUT, augment=True), origins(fixed, size=20)):
        assert len(anywhere) > 30
        assert all(0 <= coordinate < ORIGINS for origin in anywhere for coordinate in origin)


def test_flips_and_light_are_left_out_one_by_one() -> None:
    """What else is drawn does not depend on that."""
    from fitcli.runs.augmentations import Augmentations

    for epoch in range(6):
        usual = draw(epoch, augment=True)
        plain = draw(epoch, augment=True, augmentations=Augmentations(light=0.1))
        assert (plain.quarters, plain.mirror) == (0, False)
        assert (plain.gain, plain.shift) == (usual.gain, usual.shift)
        turned = draw(epoch, augment=True, augmentations=Augmentations(flips=True))
        assert (turned.quarters, turned.mirror) == (usual.quarters, usual.mirror)
        assert torch.equal(turned.groups.coordinates, usual.groups.coordinates)
        assert (turned.gain, turned.shift) == (1.0, 0.0)
        twice = draw(epoch, augment=True, augmentations=Augmentations(light=0.2))
        assert (twice.gain, twice.shift) == pytest.approx((usual.gain**2, 2 * usual.shift))


@pytest.mark.parametrize("augment", [False, True])
def test_a_sequence_runs_over_the_turned_image(augment: bool) -> None:
    layout = Layout(patch=1, group=SIDE, order="snake", any_origin=False)
    for epoch in range(8):
        place = draw(epoch, layout=layout, augment=augment)
        assert (place.window.height, place.window.width) == (32, 48), "whole groups"
        rows, columns = (6, 4) if place.quarters % 2 else (4, 6)
        forward, backward = list(range(columns)), list(range(columns))[::-1]
        snake = [[row, column] for row in range(rows) for column in (backward if row % 2 else forward)]
        assert (place.groups.coordinates - place.groups.coordinates.amin(dim=0)).tolist() == snake
        assert place.groups.number.tolist() == list(range(24))
        numbers = turned(np.arange(24).reshape(4, 6), place)
        assert [row * 6 + column for row, column in place.positions] == [numbers[row, column] for row, column in snake]


def test_processes_that_share_an_image_read_its_groups_once() -> None:
    rules = {"augment": True, "shift_canvas": 13}
    alone = values(draw(**rules))
    shares = [values(draw(share=Axis(rank, 3), **rules)) for rank in range(3)]
    assert [position for share in shares for position in share.pop("positions")] == alone.pop("positions")  # type: ignore[attr-defined]
    assert shares == [alone] * 3, "all else is the same"


def test_constant_groups_are_left_out_unless_all_are_constant() -> None:
    half = np.concatenate([PIXELS[:, :24], np.full_like(PIXELS[:, 24:], 200)], axis=1)
    everywhere = draw(pixels=half).positions
    rule = BackgroundRule(0.02, RGB)
    kept = draw(pixels=half, background=rule).positions
    assert kept == [(row, column) for row, column in everywhere if column < 3]
    assert len(draw(pixels=np.full_like(PIXELS, 200), background=rule).positions) == 1


def test_an_image_below_one_group_is_no_sequence() -> None:
    layout = Layout(patch=1, group=40, order="raster")
    with pytest.raises(DataError, match=r"50 x 37 pixels do not fill one patch of 40 x 40; .* lower --patch"):
        draw(layout=layout)


def at(*places: tuple[int, int]) -> NDArray[np.int64]:
    return np.array(places, np.int64)


def holds(place: Place, row: int, column: int) -> bool:
    window = place.window
    return window.top <= row < window.bottom and window.left <= column < window.right


def test_anchors_change_the_window_alone() -> None:
    rules = CASES["all of it"]
    for epoch in range(40):
        plain, unused = draw(epoch, **rules), draw(epoch, anchors=(at((3, 4)),), **rules)
        assert values(plain) == values(unused), "without the rule, nothing is drawn"
        moved = draw(epoch, anchors=(at((3, 4)),), anchored=1.0, **rules)
        assert holds(moved, 3, 4)
        assert values(moved) | {"window": None} == values(plain) | {"window": None}
        assert values(draw(epoch, anchored=1.0, **rules)) == values(plain), "an image without anchors"


@pytest.mark.walk(3)
@pytest.mark.parametrize("size", [1, 16, 37, 45, 100])
@pytest.mark.parametrize("anchor", [(0, 0), (0, 49), (36, 0), (36, 49), (18, 3), (90, 90)])
def test_every_window_that_holds_the_anchor_is_as_likely(size: int, anchor: tuple[int, int]) -> None:
    """The last anchor lies outside of an image that has become smaller."""
    row, column = min(anchor[0], 36), min(anchor[1], 49)
    places = [draw(epoch, anchors=(at(anchor),), anchored=1.0, size=size) for epoch in range(300)]
    assert all(holds(place, row, column) for place in places)
    assert {(place.window.height, place.window.width) for place in places} == {(min(37, size), min(50, size))}
    tops, lefts = {place.window.top for place in places}, {place.window.left for place in places}
    assert tops == set(range(max(0, row - size + 1), min(row, max(0, 37 - size)) + 1))
    assert lefts == set(range(max(0, column - size + 1), min(column, max(0, 50 - size)) + 1))


@pytest.mark.walk(1)
@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_kinds_of_anchors_are_equally_likely(share: float) -> None:
    """One kind has a single anchor, the other a hundred."""
    pixels = np.zeros((1000, 1000, 1), np.uint8)
    rare, usual = at((5, 995)), np.stack([np.arange(100) * 3 + 300, np.full(100, 200)], 1)
    places = [draw(epoch, pixels=pixels, anchors=(rare, usual), anchored=share, size=8) for epoch in range(2000)]
    found = sum(holds(place, 5, 995) for place in places)
    # By chance, a window holds a pixel in the corner once in 10,000 draws.
    assert abs(found - share / 2 * 2000) <= 4 * (2000 * share / 2 * (1 - share / 2)) ** 0.5 + 4


def test_anchored_windows_of_a_sequence_are_whole_groups() -> None:
    layout = Layout(patch=1, group=SIDE, order="raster")
    for epoch in range(50):
        place = draw(epoch, layout=layout, anchors=(at((36, 49)),), anchored=1.0, size=20)
        assert (place.window.height, place.window.width) == (16, 16)
        assert holds(place, 36, 49)


def test_an_item_is_read_around_the_anchors_of_its_sample(tmp_path: Path) -> None:
    sample = Sample(save(tmp_path / "image.png", PIXELS), 3, (at((36, 49)),))
    rules = PlaceRules(size=8, anchored=1.0)
    reading = Reading(layout=LAYOUT, rules=rules, preprocessing=RGB, targets=ClassLabelReader())
    assert all(holds(read_item(reading, sample, epoch, 0, Axis()).place, 36, 49) for epoch in range(10))


def test_features_are_turned_but_not_recolored() -> None:
    colored, plain = (values(draw(3, 1, augment=True, recolor=recolor)) for recolor in (True, False))
    assert colored["gain"] != 1
    assert plain == colored | {"gain": 1.0, "shift": 0.0}
