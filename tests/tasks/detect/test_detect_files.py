"""Names of outputs, counts and densities. `tests/commands/test_detect.py` runs the whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fitcli.annotations.objects.found_objects import FoundObjects
from fitcli.errors import FitError
from fitcli.tasks.detect.detect_files import check_pixels, named_counts, plan_object_files


def test_outputs_of_several_images(tmp_path: Path) -> None:
    paths = [Path("a.tif"), Path("b.tif")]
    planned = plan_object_files(paths, tmp_path / "out", tmp_path / "pictures", 0.4, True)
    assert [each.objects for each in planned] == [tmp_path / "out/a.geojson", tmp_path / "out/b.geojson"]
    assert [each.overlay for each in planned] == [tmp_path / "pictures/a.png", tmp_path / "pictures/b.png"]
    assert planned[0].threshold == 0.4
    assert planned[0].in_pixels
    assert plan_object_files(paths, None)[0].files == []
    with pytest.raises(FitError, match="one file for 2 images"):
        plan_object_files(paths, tmp_path / "a.csv")
    with pytest.raises(FitError, match="name it"):
        plan_object_files(paths[:1], tmp_path / "a.doc")


def test_counts_and_densities() -> None:
    found = FoundObjects(np.zeros((3, 4)), np.ones(3, np.float32), np.array([1, 1, 0], np.int32), False)
    counts = named_counts(found, ("a", "b", "c"), 2_000_000, 0.5)
    assert counts["b"] == {"count": 2, "per_megapixel": 1.0, "per_square_millimetre": 4.0}
    assert counts["c"]["count"] == 0
    assert "per_square_millimetre" not in named_counts(found, ("a", "b"), 100, None)["a"]


def test_pixels_are_for_geojson() -> None:
    check_pixels(True, Path("a.geojson"))
    check_pixels(True, Path("folder"))
    check_pixels(False, None)
    for out in (None, Path("a.csv"), Path("a.json.gz")):
        with pytest.raises(FitError, match="--pixels is for GeoJSON"):
            check_pixels(True, out)
