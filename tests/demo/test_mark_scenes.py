"""Scenes of marks: their boxes lie around them, and windows fit together."""

from __future__ import annotations

import numpy as np
import pytest

from fitcli.demo.mark_scenes import GREATEST_SIDE, KINDS, LEAST_SIDE, MarkScene
from fitcli.images.window import Window


def test_the_same_arguments_give_the_same_scene() -> None:
    one, other = MarkScene(3, 300, 200), MarkScene(3, 300, 200)
    window = Window(0, 0, 300, 200)
    assert np.array_equal(one.boxes, other.boxes)
    assert np.array_equal(one.render(window), other.render(window))
    assert not np.array_equal(one.render(window), MarkScene(4, 300, 200).render(window))


def test_marks_do_not_touch_and_have_their_sizes() -> None:
    scene = MarkScene(0, 700, 900)
    boxes = scene.boxes
    sides = boxes[:, 2:] - boxes[:, :2]
    assert len(boxes) > 30
    assert sides.min() >= LEAST_SIDE
    assert sides.max() <= GREATEST_SIDE
    assert boxes.min() > 0
    assert (boxes[:, 2] < 900).all()
    for number, box in enumerate(boxes):
        others = np.delete(boxes, number, axis=0)
        apart = (
            (others[:, 0] >= box[2]) | (others[:, 2] <= box[0]) | (others[:, 1] >= box[3]) | (others[:, 3] <= box[1])
        )
        assert apart.all()
    assert set(scene.kinds.tolist()) == {0, 1, 2}


def test_a_mark_fills_its_box_as_its_kind_does() -> None:
    """Without noise and lines, what differs from the ground is the mark."""
    scene = MarkScene(0, 512, 512)
    plain = MarkScene(0, 512, 512)
    object.__setattr__(plain, "boxes", np.empty((0, 4)))
    window = Window(0, 0, 512, 512)
    changed = (scene.render(window).astype(int) != plain.render(window)).any(axis=-1)
    for box, kind in zip(scene.boxes, scene.kinds.tolist(), strict=True):
        left, top, right, bottom = np.round(box).astype(int)
        share = changed[top:bottom, left:right].mean()
        low, high = {"cross": (0.35, 0.75), "disc": (0.65, 0.95), "square": (0.8, 1.0)}[KINDS[kind]]
        assert low <= share <= high
    outside = changed.copy()
    for left, top, right, bottom in scene.boxes:
        outside[int(top) : int(bottom) + 1, int(left) : int(right) + 1] = False
    assert not outside.any()


def test_tiny_scenes_are_refused() -> None:
    with pytest.raises(ValueError, match="has no room for marks"):
        MarkScene(0, 50, 500)
