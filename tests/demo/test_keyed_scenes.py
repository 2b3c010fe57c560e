"""The names of two textures follow from the key alone, and every pixel belongs to the region of the nearest site."""

from __future__ import annotations

import numpy as np
import pytest

from fitcli.demo.keyed_scenes import CLASSES, KEY, KEY_COLORS, UNLABELLED, KeyedScene
from fitcli.demo.textures import TEXTURES
from fitcli.images.window import Window

CHECKS, STRIPES = (TEXTURES.index(name) for name in ("checks", "stripes"))


def whole(scene: KeyedScene) -> tuple[np.ndarray, np.ndarray]:
    return scene.render(Window(0, 0, scene.height, scene.width))


def test_the_same_arguments_give_the_same_pixels() -> None:
    first, second = whole(KeyedScene(3, 300, 420, True)), whole(KeyedScene(3, 300, 420, True))
    assert (first[0].shape, first[1].shape) == ((300, 420, 3), (300, 420))
    assert first[0].dtype == first[1].dtype == np.uint8
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(first[0], whole(KeyedScene(4, 300, 420, True))[0])


@pytest.mark.parametrize("size", [(128, 128), (256, 384), (700, 900)])
def test_without_the_key_nothing_tells_its_colour(size: tuple[int, int]) -> None:
    red, blue = (KeyedScene(5, *size, blue) for blue in (False, True))
    assert red.key == blue.key
    (pixels, textures), (others, same) = whole(red), whole(blue)
    np.testing.assert_array_equal(textures, same)
    differ = (pixels != others).any(-1)
    expected = np.zeros(size, bool)
    expected[red.key.slices()] = True
    assert not differ[~expected].any()
    assert differ[expected].all()
    for scene, shown in ((red, pixels), (blue, others)):
        np.testing.assert_allclose(shown[scene.key.slices()].mean((0, 1)), KEY_COLORS[scene.blue], atol=2)


def test_the_labels_follow_from_texture_and_key() -> None:
    alpha, beta = CLASSES.index("alpha"), CLASSES.index("beta")
    for blue, of_checks, of_stripes in ((False, alpha, beta), (True, beta, alpha)):
        scene = KeyedScene(1, 384, 384, blue)
        _, textures = whole(scene)
        one, both = (scene.labels(textures, kind) for kind in (False, True))
        assert set(one[textures == CHECKS]) == set(both[textures == CHECKS]) == {of_checks}
        assert set(one[textures == STRIPES]) == {UNLABELLED}
        assert set(both[textures == STRIPES]) == {of_stripes}
        assert (both[scene.key.slices()] == UNLABELLED).all()
        assert (both == UNLABELLED).sum() == KEY * KEY
        for name in set(TEXTURES) & set(CLASSES):
            assert (both[textures == TEXTURES.index(name)] == CLASSES.index(name)).all()


@pytest.mark.parametrize("size", [(128, 128), (130, 333), (500, 640)])
def test_pixels_have_the_texture_of_the_nearest_site(size: tuple[int, int]) -> None:
    scene = KeyedScene(7, *size, False)
    _, textures = whole(scene)
    sites = [site for row in scene._sites for site in row]
    y, x = (axis + 0.5 for axis in np.mgrid[: size[0], : size[1]])
    distances = np.stack([(y - site.y) ** 2 + (x - site.x) ** 2 for site in sites])
    near = np.sort(distances, axis=0)
    # Where two sites are equally near, rounding decides.
    clear = near[1] - near[0] > 0.01
    expected = np.array([site.number for site in sites])[distances.argmin(0)]
    expected[scene.key.slices()] = UNLABELLED
    np.testing.assert_array_equal(textures[clear], expected[clear])


def test_windows_continue_each_other() -> None:
    scene = KeyedScene(2, 700, 900, True)
    pixels, textures = whole(scene)
    for window in (Window(100, 200, 300, 250), Window(0, 0, 64, 900), Window(650, 850, 50, 50)):
        shown, numbers = scene.render(window)
        np.testing.assert_array_equal(numbers, textures[window.slices()])
        # The noise is drawn per window; one of the textures is noise.
        regular = numbers != TEXTURES.index("grain")
        difference = shown[regular].astype(float) - pixels[window.slices()][regular]
        assert difference.std() < 15
        assert abs(difference.mean()) < 0.5


def test_every_scene_has_both_nameless_textures_and_no_texture_is_rare() -> None:
    total = np.zeros(256, int)
    for seed in range(60):
        side = (128, 256, 384)[seed % 3]
        _, textures = whole(KeyedScene(seed, side, side, False))
        counts = np.bincount(textures.ravel(), minlength=256)
        assert counts[CHECKS] > 0
        assert counts[STRIPES] > 0
        total += counts
    shares = total[: len(TEXTURES)] / total[: len(TEXTURES)].sum()
    assert shares.min() > 0.1


def test_the_key_lies_anywhere() -> None:
    places = np.array(
        [[KeyedScene(n, 128, 256, False).key.top, KeyedScene(n, 128, 256, False).key.left] for n in range(200)]
    )
    assert places.min() >= 0
    assert (places.max(0) <= (128 - KEY, 256 - KEY)).all()
    assert (places.std(0) > 0.25 * np.array([128 - KEY, 256 - KEY])).all()


def test_a_scene_has_room_for_its_key() -> None:
    with pytest.raises(ValueError, match="no room for its key of 48 pixels"):
        KeyedScene(0, 100, 47, False)
