"""Changes are drawn by seed, epoch and number of the sample, within the strengths, and each kind for itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fitcli.data.image_change import UNCHANGED, Change, draw_change, resized_anchors
from fitcli.images.array_image import ArrayReader
from fitcli.runs.augmentations import KINDS, USUAL_AUGMENTATIONS, Augmentations, parse_augmentations

EVERY = parse_augmentations("colour=0.2,stain=0.3,scale=0.5,blur=2,noise=0.4,drop=0.3")


def drawn(chosen: Augmentations, channels: int = 3, count: int = 300) -> list[Change]:
    return [draw_change(chosen, channels, 5, epoch, 1) for epoch in range(count)]


def test_it_follows_from_seed_epoch_and_number() -> None:
    assert draw_change(EVERY, 3, 5, 2, 1) == draw_change(EVERY, 3, 5, 2, 1)
    others = [draw_change(EVERY, 3, *address) for address in ((5, 2, 1), (6, 2, 1), (5, 3, 1), (5, 2, 2))]
    assert len({change.factor for change in others}) == len({change.seed for change in others}) == 4


def test_strengths_are_limits_and_are_reached() -> None:
    changes = drawn(EVERY)
    factors = [change.factor for change in changes]
    assert 1 / 1.5 <= min(factors) < 0.7 < 1.45 < max(factors) <= 1.5
    assert np.mean(np.log(factors)) == pytest.approx(0, abs=0.05), "as often larger as smaller"
    for name, low, high in (("hue", -0.1, 0.1), ("saturation", 0.6, 1.4)):
        values = [getattr(change, name) for change in changes]
        margin = (high - low) / 20
        assert low <= min(values) < low + margin < high - margin < max(values) <= high
    stains = np.array([(*change.stain_gains, *change.stain_shifts) for change in changes])
    assert np.all((np.abs(stains - [1, 1, 0, 0]) <= 0.3).all(0) & (np.abs(stains - [1, 1, 0, 0]).max(0) > 0.28))
    for name, most in (("blur", 2), ("noise", 0.4)):
        values = [getattr(change, name) for change in changes]
        assert 0.9 * most < max(values) <= most
        assert np.mean([value == 0 for value in values]) == pytest.approx(0.5, abs=0.1), "half stay as they are"


@pytest.mark.parametrize("channels", [2, 3, 13])
def test_one_channel_or_more_always_stays(channels: int) -> None:
    numbers = [change.dropped for change in drawn(parse_augmentations("drop=0.9"), channels)]
    assert max(map(len, numbers)) == channels - 1
    assert {number for each in numbers for number in each} == set(range(channels))


def test_other_channels_than_three_change_each_for_itself() -> None:
    for change in drawn(parse_augmentations("colour=0.1"), 4, 20):
        assert len(set(change.gains)) == len(set(change.shifts)) == 4
        assert not change.recolors


@pytest.mark.parametrize("name", [name for name in KINDS if name not in ("flips", "light")])
def test_a_kind_does_not_depend_on_the_others(name: str) -> None:
    alone, every = draw_change(replace(Augmentations(), **{name: getattr(EVERY, name)}), 3, 5, 0, 1), draw_change(
        EVERY, 3, 5, 0, 1
    )  # fmt: skip
    fields = {"colour": ("hue", "saturation"), "stain": ("stain_gains", "stain_shifts"), "scale": ("factor",),
              "blur": ("blur",), "noise": ("noise", "seed"), "drop": ("dropped",)}  # fmt: skip
    for names, same in ((fields[name], every), (set(Change.__dataclass_fields__) - {*fields[name], "seed"}, UNCHANGED)):
        assert all(getattr(alone, each) == getattr(same, each) for each in names)


def test_the_usual_ones_change_no_pixel() -> None:
    assert draw_change(USUAL_AUGMENTATIONS, 3, 5, 0, 1) is UNCHANGED
    assert not UNCHANGED.changes_pixels
    image = ArrayReader(np.zeros((20, 30, 3), np.uint8))
    assert UNCHANGED.resized(image, 1) is image


@pytest.mark.parametrize(
    ("factor", "least", "expected"),
    [(0.5, 16, (40, 60)), (2.0, 1, (10, 15)), (2.0, 16, (16, 24)), (2.0, 20, (20, 30)), (2.0, 32, (20, 30))],
)
def test_an_image_is_not_made_smaller_than_its_windows(factor: float, least: int, expected: tuple[int, int]) -> None:
    image = ArrayReader(np.zeros((20, 30, 3), np.uint8))
    assert Change(factor=factor).resized(image, least).info.size == expected


def test_anchors_stay_on_their_pixels() -> None:
    (moved,) = resized_anchors((np.array([[0, 0], [19, 29], [10, 3]]),), (20, 30), (10, 45))
    assert moved.tolist() == [[0, 0], [9, 44], [5, 5]]
    anchors = (np.array([[1, 2]]),)
    assert resized_anchors(anchors, (20, 30), (20, 30)) is anchors
