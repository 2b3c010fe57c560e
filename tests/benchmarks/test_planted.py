"""The planted data sets: their plans, their places, and the pointing score."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.learning import planted_kinds
from benchmarks.learning.planted import pointing_score
from benchmarks.learning.planted_kinds import KINDS
from benchmarks.learning.planted_places import WHERE, Place, PlannedImage, PlantedKind, _listing, plan
from fitcli.images.window import Window


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> PlantedKind:
    return KINDS[request.param]


def test_the_same_seed_gives_the_same_plan(kind: PlantedKind) -> None:
    first = list(plan(kind, 0))
    assert first == list(plan(kind, 0))
    assert [image.places for image in first] != [image.places for image in plan(kind, 1)]


def test_no_patient_or_scene_is_in_two_parts(kind: PlantedKind) -> None:
    groups: dict[str, set[int]] = {}
    for image in plan(kind, 0):
        groups.setdefault(image.part, set()).add(image.group)
    assert len(set.union(*groups.values())) == sum(map(len, groups.values()))


def test_classes_are_even_in_every_part(kind: PlantedKind) -> None:
    for part in ("train", "test", "large"):
        counts = Counter(image.label for image in plan(kind, 0) if image.part == part)
        assert set(counts) == set(kind.classes)
        assert max(counts.values()) - min(counts.values()) <= kind.per_group


def test_places_lie_on_the_image_where_the_part_says(kind: PlantedKind) -> None:
    for image in plan(kind, 0):
        edges = [_edges(image, place) for place in image.places]
        if image.part in WHERE:
            assert edges == [{"rim": 1, "corner": 2, "middle": 0}[image.part]]
        assert bool(edges) == (image.label in kind.pointed)


def _edges(image: PlannedImage, place: Place) -> int:
    """Return the number of edges that a place touches, after checking that it lies on the image."""
    gaps = [place.y, image.height - place.y, place.x, image.width - place.x]
    assert min(gaps) > place.radius - 0.2
    return sum(gap < place.radius + 0.2 for gap in gaps)


def test_patients_stay_on_one_side_of_the_split() -> None:
    slides = KINDS["slides"]
    rows = list(_listing(slides, [image for image in plan(slides, 0) if image.part == "train"]))
    sides = {(row[1], row[3]) for row in rows[1:]}
    assert len({patient for patient, _ in sides}) == len(sides) == 30
    assert Counter(side for _, side in sides) == {"train": 24, "val": 6}


def test_strips_do_not_change_with_what_was_drawn_before(kind: PlantedKind) -> None:
    image = next(image for image in plan(kind, 0) if image.part == "corner")
    window = Window(0, 0, 64, image.width)
    other = kind.painter(image)
    other(Window(64, 0, 64, image.width))
    np.testing.assert_array_equal(kind.painter(image)(window), other(window))


def test_the_sign_of_the_class_is_drawn_in_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    scenes = KINDS["scenes"]
    image = next(image for image in plan(scenes, 0) if image.part == "middle")
    place = image.places[0]
    window = Window(round(place.y) - 10, round(place.x) - 10, 20, 20)
    stressed = scenes.painter(image)(window)[..., 3]
    monkeypatch.setattr(planted_kinds, "STRESSED", 1.0)
    healthy = scenes.painter(image)(window)[..., 3]
    assert stressed.mean() == pytest.approx(0.55 * healthy.mean(), rel=0.02)


def test_wells_are_dark_but_for_a_thousandth() -> None:
    wells = KINDS["wells"]
    image = next(image for image in plan(wells, 0) if image.part == "train")
    pixels = wells.painter(image)(Window(0, 0, image.height, image.width))
    assert np.percentile(pixels, 99.9) < 1000 < pixels.max()


@pytest.mark.parametrize(("inside", "expected"), [(10, 1.0), (5, 0.5), (0, 0.0)])
def test_the_pointing_score_counts_the_strongest_patches(inside: int, expected: float) -> None:
    image = next(image for image in plan(KINDS["slides"], 0) if image.part == "middle")
    image = replace(image, height=640, width=640, places=(Place(320, 320, 60),))
    values = np.zeros((40, 40), np.float32)
    values[18, 17:22] = values[21, 17:22] = 0.5
    strongest = [(18, column) for column in range(17, 22)] + [(21, column) for column in range(17, 22)]
    values[5, : 10 - inside] = 1
    values[0] = np.nan
    for row, column in strongest[:inside]:
        values[row, column] = 1
    assert pointing_score(values, 16, image) == expected
