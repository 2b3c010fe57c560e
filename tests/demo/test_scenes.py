"""The images of the demo are always the same, and only the marks reveal the class."""

from __future__ import annotations

import numpy as np
import pytest

from fitcli.demo.scenes import CLASSES, RADII, Scene
from fitcli.images.window import Window

HEIGHT, WIDTH = 700, 900
WHOLE = Window(0, 0, HEIGHT, WIDTH)


def scene(label: str = CLASSES[0], seed: int = 3, marks: int = 6) -> Scene:
    return Scene(seed, HEIGHT, WIDTH, label, marks)


def covered(shown: Scene) -> np.ndarray:
    """Return a mask of the pixels under the marks."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.any([np.hypot(y - mark.y, x - mark.x) <= mark.radius + 1 for mark in shown.placed], axis=0)


def test_the_same_arguments_give_the_same_pixels() -> None:
    first, second = scene().render(WHOLE), scene().render(WHOLE)
    assert (first.shape, first.dtype) == ((HEIGHT, WIDTH, 3), np.uint8)
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, scene(seed=4).render(WHOLE))


def test_the_order_of_the_windows_does_not_matter() -> None:
    windows = [Window(top, left, 256, 256).clip(HEIGHT, WIDTH) for top in (0, 256, 512) for left in (0, 256, 512, 768)]
    one, other = scene(), scene()
    forward = [one.render(window) for window in windows]
    backward = [other.render(window) for window in reversed(windows)]
    for mine, theirs in zip(forward, reversed(backward), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_windows_continue_each_other() -> None:
    shown = scene()
    whole = shown.render(WHOLE).astype(float)
    for window in (Window(100, 200, 300, 250), Window(0, 0, 64, 900), Window(650, 850, 50, 50)):
        difference = shown.render(window) - whole[window.slices()]
        # Only the grain differs: it is drawn per window.
        assert difference.std() < 8
        assert abs(difference.mean()) < 0.5


@pytest.mark.parametrize("label", CLASSES)
def test_marks_lie_inside_and_apart(label: str) -> None:
    for seed in range(20):
        placed = scene(label, seed).placed
        assert len(placed) == 6
        for number, mark in enumerate(placed):
            assert RADII[0] <= mark.radius <= RADII[1]
            assert mark.radius <= mark.y <= HEIGHT - mark.radius
            assert mark.radius <= mark.x <= WIDTH - mark.radius
            for other in placed[:number]:
                assert np.hypot(mark.y - other.y, mark.x - other.x) > mark.radius + other.radius


def test_marks_of_all_classes_lie_at_the_same_places() -> None:
    places = {tuple((m.y, m.x, m.radius) for m in scene(label).placed) for label in CLASSES}
    assert len(places) == 1


@pytest.mark.parametrize("label", CLASSES[1:])
def test_classes_differ_under_the_marks_and_nowhere_else(label: str) -> None:
    one, other = scene(CLASSES[0]), scene(label)
    difference = other.render(WHOLE).astype(int) - one.render(WHOLE)
    inside = covered(one)
    assert not difference[~inside].any(), "the ground and the grain do not depend on the class"
    assert difference[inside].std() > 15, "the marks do"


@pytest.mark.parametrize("label", CLASSES)
def test_marks_are_no_brighter_than_the_ground(label: str) -> None:
    bare, marked = scene(label, marks=0).render(WHOLE).astype(float), scene(label).render(WHOLE).astype(float)
    inside = covered(scene(label))
    difference = marked - bare
    assert difference[inside].std() > 20
    # The pattern is grey and has a mean of zero, so neither brightness nor colour reveals the marks.
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    for mark in scene(label).placed:
        of_mark = np.hypot(y - mark.y, x - mark.x) <= mark.radius + 1
        assert np.abs(difference[of_mark].mean(axis=0)).max() < 0.5
    assert np.abs(difference[..., 0] - difference[..., 2])[inside].mean() < 4


def test_a_thumbnail_does_not_tell_the_class() -> None:
    def thumbnail(label: str) -> np.ndarray:
        return scene(label).render(WHOLE)[:640, :896].reshape(20, 32, 28, 32, 3).mean((1, 3))

    first = thumbnail(CLASSES[0])
    for label in CLASSES[1:]:
        # The difference is small compared to the variation of the ground between the pixels of the thumbnail.
        assert np.abs(thumbnail(label) - first).max() < 0.5 * first.std()


def test_unknown_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="not 'dots'"):
        scene("dots")
