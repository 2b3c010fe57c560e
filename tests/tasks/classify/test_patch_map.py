"""Values on the grid of patches: times the even share, and logits."""

from __future__ import annotations

import numpy as np
import pytest

from fitcli.images.array_image import ArrayReader
from fitcli.patches.grid import PatchGrid
from fitcli.tasks.classify.classify_image import Classification, Contributions
from fitcli.tasks.classify.evidence import patch_areas
from fitcli.tasks.classify.patch_map import contribution_map, evidence_map, present_patches

SIZE, PATCH, GROUP = (29, 42), 4, 3


def classified(places: list[tuple[int, int]] | None = None) -> Classification:
    """Random evidence and contributions in some groups."""
    grid = PatchGrid(SIZE, PATCH, GROUP)
    places = list(grid.coordinates()) if places is None else places
    generator, areas = np.random.default_rng(0), patch_areas(grid, places)
    evidence = generator.random(areas.shape).astype(np.float32) * areas
    values = (generator.normal(size=areas.shape) * (areas > 0)).astype(np.float32)
    by_class = {"a": Contributions(values, 0.5)}
    return Classification(np.array([1.0]), evidence / evidence.sum(), grid, places, by_class=by_class)


@pytest.mark.parametrize("places", [None, [(0, 0), (2, 3), (1, 1)]])
def test_the_mean_of_the_evidence_by_area_is_one(places: list[tuple[int, int]] | None) -> None:
    result = classified(places)
    values = evidence_map(result)
    pixels = values.repeat(PATCH, 0).repeat(PATCH, 1)[: SIZE[0], : SIZE[1]]
    assert values.shape == (8, 11)
    assert np.nanmean(pixels, dtype=float) == pytest.approx(1, rel=1e-5)
    assert np.isnan(values).any() == (places is not None)


@pytest.mark.parametrize("places", [None, [(0, 0), (2, 3), (1, 1)]])
def test_the_mean_of_the_contributions_over_the_groups_is_their_sum(places: list[tuple[int, int]] | None) -> None:
    result = classified(places)
    values = contribution_map(result, "a")
    means = [
        np.mean(values[row * GROUP : (row + 1) * GROUP, column * GROUP : (column + 1) * GROUP], dtype=float)
        for row, column in result.places
    ]
    assert np.mean(means) == pytest.approx(result.contributions("a").values.sum(dtype=float), rel=1e-5)


def test_groups_that_were_left_out_have_no_value() -> None:
    values = evidence_map(classified([(1, 1)]))
    looked_at = np.zeros(values.shape, bool)
    looked_at[3:6, 3:6] = True
    np.testing.assert_array_equal(~np.isnan(values), looked_at)


def test_without_evidence_there_is_nothing_to_draw() -> None:
    grid = PatchGrid((16, 16), PATCH, GROUP)
    bare = Classification(np.array([1.0]), None, grid, list(grid.coordinates()))
    with pytest.raises(ValueError, match="keep_evidence=True"):
        evidence_map(bare)
    with pytest.raises(ValueError, match=r"keep_contributions=\['a'\]"):
        contribution_map(bare, "a")


@pytest.mark.parametrize("searched", [1, 2**20])
def test_a_patch_is_present_if_one_of_its_values_is(searched: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fitcli.tasks.classify.patch_map.SEARCHED_PIXELS", searched)
    grid = PatchGrid(SIZE, PATCH, GROUP)
    pixels = np.full((*SIZE, 2), -1, np.int16)
    for y, x, channel in ((0, 0, 1), (28, 41, 0), (9, 14, 1)):
        pixels[y, x, channel] = 5
    present = present_patches(ArrayReader(pixels, nodata=-1), grid)
    assert present is not None
    assert list(zip(*np.nonzero(present), strict=True)) == [(0, 0), (2, 3), (7, 10)]
    assert present_patches(ArrayReader(pixels), grid) is None
