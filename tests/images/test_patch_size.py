"""Sizes of patches agree in any unit that both files state; only stated sizes contradict each other."""

from __future__ import annotations

import pytest

from fitcli.images.feature_grid import FeatureGrid
from fitcli.images.patch_size import PatchSize, guessed_difference, patch_size


@pytest.mark.parametrize(
    ("one", "other", "agree"),
    [
        (PatchSize(512), PatchSize(512), True),
        (PatchSize(512), PatchSize(256), False),
        # 256 pixels at 20x of slides that were scanned at 40x and at 20x
        (PatchSize(512, nominal=128), PatchSize(256, nominal=128), True),
        (PatchSize(512, nominal=128), PatchSize(256, nominal=64), False),
        (PatchSize(512, microns=116.6, nominal=128), PatchSize(256, microns=134.8, nominal=128), True),
        (PatchSize(486, microns=128, nominal=121), PatchSize(562, microns=128, nominal=140), True),
        (PatchSize(512, microns=128), PatchSize(256, nominal=128), False),
        (PatchSize(256), PatchSize(224), False),
        (PatchSize(507), PatchSize(512), True),
    ],
)
def test_sizes_agree(one: PatchSize, other: PatchSize, agree: bool) -> None:
    assert one.agrees(other) is other.agrees(one) is agree
    assert one.contradicts(other) is not agree


def test_a_guess_contradicts_nothing() -> None:
    guessed = PatchSize(256, stated=False)
    assert not guessed.contradicts(PatchSize(512))
    assert not PatchSize(512).contradicts(guessed)
    text = guessed_difference(guessed, PatchSize(512), "a.h5 has")
    assert text.startswith("has patches at a distance of 256 pixels, a.h5 has patches of 512 pixels; ")
    text = guessed_difference(PatchSize(512), guessed, "a.h5 has")
    assert text.startswith("states patches of 512 pixels, a.h5 has patches at a distance of 256 pixels; ")


def test_the_advice_names_the_scale_only_where_it_is_missing() -> None:
    assert "level0_magnification" in PatchSize(512).advice(PatchSize(256, nominal=128))
    assert "level0" not in PatchSize(512, nominal=128).advice(PatchSize(256, nominal=64))


def test_the_size_of_a_grid() -> None:
    assert patch_size(None) is None
    assert patch_size(FeatureGrid()) is None
    grid = FeatureGrid(side=256, patch=512, states_patch=True, mpp=0.25, magnification=20)
    assert patch_size(grid) == PatchSize(512, 128, 256)
    assert patch_size(grid.resize(2)) == PatchSize(512, 128, 256), "features at another scale are of the same patches"
    assert str(patch_size(grid)) == "512 pixels (128 microns)"
    assert str(PatchSize(512)) == "512 pixels"


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "512", True, [512]])
@pytest.mark.parametrize("name", ["pixels", "microns", "nominal"])
def test_sizes_that_cannot_be(name: str, value: object) -> None:
    with pytest.raises(ValueError, match="a patch of features cannot have the side"):
        PatchSize(**{"pixels": 512, name: value})  # type: ignore[arg-type]
