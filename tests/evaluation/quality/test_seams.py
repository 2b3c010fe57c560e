"""Steps across borders, on constructed images and window by window."""

from __future__ import annotations

import numpy as np
import pytest

from fitcli.evaluation.quality import seams
from fitcli.evaluation.quality.laplacian_pyramid import Values
from fitcli.evaluation.quality.seams import SeamCounter, SeamLevel
from fitcli.images.window import Window
from fitcli.tasks.image_sampler import CutSides

GROUPS_OF_16 = CutSides(group=(16, 16), patch=(4, 4))


def count(image: Values, cuts: CutSides = GROUPS_OF_16) -> list[SeamLevel]:
    counter = SeamCounter(cuts)
    counter.add(image.shape[:2], lambda window: image[window.slices()])
    return counter.result()


def ramps(side: int) -> Values:
    """Return an image whose step is 1 everywhere."""
    rows, columns = np.mgrid[:side, :side]
    return (rows + columns)[..., None].astype(np.float32)


def stairs(side: int, height: float, cut: int) -> Values:
    """Return an image whose step is 1 and greater by `height` across each border of squares of `cut` pixels."""
    rows, columns = np.mgrid[:side, :side]
    return ramps(side) + np.float32(height) * (rows // cut + columns // cut)[..., None]


def test_an_even_image_has_no_seams() -> None:
    for level in count(ramps(64)):
        assert level.groups == pytest.approx(1)
        assert level.patches is None or level.patches == pytest.approx(1)
    assert [level.patches is None for level in count(ramps(64))] == [False, False, True, True]


def test_steps_from_and_to_missing_pixels_do_not_count() -> None:
    image = ramps(64)
    image[:, 32:] = np.nan  # the border of a group
    for level in count(image):
        assert level.groups == pytest.approx(1)


def test_seams_are_found_on_each_level() -> None:
    levels = count(stairs(64, 3, 16))
    # A step of a shrunk image is twice as high, the seam is not.
    assert [level.groups for level in levels] == pytest.approx([4, 2.5, 1.75, 1.375])
    assert [level.patches for level in levels[:2]] == pytest.approx([1, 1])
    of_patches = count(stairs(64, 3, 4))
    assert [(level.groups, level.patches) for level in of_patches[:2]] == [
        pytest.approx((4, 4)), pytest.approx((2.5, 2.5))
    ]  # fmt: skip


def test_only_borders_of_groups_count_as_such() -> None:
    image = np.random.default_rng(0).random((48, 40, 2)).astype(np.float32)
    steps = [np.abs(np.diff(image.astype(np.float64), axis=axis)) for axis in (0, 1)]
    sums = {"groups": [0.0, 0], "patches": [0.0, 0], "inside": [0.0, 0]}
    for axis, each in enumerate(steps):
        for border in range(1, image.shape[axis]):
            kind = "groups" if border % 16 == 0 else "patches" if border % 4 == 0 else "inside"
            line = np.take(each, border - 1, axis=axis)
            sums[kind][0] += line.sum()
            sums[kind][1] += line.size
    means = {name: total / number for name, (total, number) in sums.items()}
    level = count(image)[0]
    assert level.groups == pytest.approx(means["groups"] / means["inside"])
    assert level.patches == pytest.approx(means["patches"] / means["inside"])


@pytest.mark.parametrize("size", [(64, 64), (100, 75), (33, 130)])
@pytest.mark.parametrize("cuts", [GROUPS_OF_16, CutSides((24, 12), (6, 3)), CutSides((4, 2), (1, 1))])
def test_windows_give_what_the_whole_image_gives(
    size: tuple[int, int], cuts: CutSides, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = np.random.default_rng(1).random((*size, 3)).astype(np.float32)
    whole, read = count(image, cuts), list[Window]()
    monkeypatch.setattr(seams, "STRIP", 16)
    counter = SeamCounter(cuts)

    def window_of(window: Window) -> Values:
        read.append(window)
        return image[window.slices()]

    counter.add(size, window_of)
    assert max(max(window.height, window.width) for window in read) < max(size)
    for ours, expected in zip(counter.result(), whole, strict=True):
        assert (ours.patches is None) == (expected.patches is None)
        found, right = ([each or 0 for each in level[1:]] for level in (ours, expected))
        assert found == pytest.approx(right, rel=1e-5)


def test_an_image_of_one_group_has_no_borders_of_groups() -> None:
    assert [level.groups for level in count(ramps(16))] == [None] * 4


def test_groups_of_one_pixel_have_no_inside() -> None:
    (level,) = count(ramps(8), CutSides((1, 1), (1, 1)))
    assert (level.groups, level.patches) == (None, None)
