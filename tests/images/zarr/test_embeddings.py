"""Features that `fit embed --patches` writes as zarr are images of features, and so are named arrays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from support.embedded import write_embedded
from support.reader_contract import Case, ReaderContract

from fitcli.errors import ImageError
from fitcli.images.find import find_images
from fitcli.images.open import open_image


class TestEmbeddedPatches(ReaderContract):
    @pytest.fixture
    def case(self, tmp_path: Path) -> Case:
        return Case(tmp_path / "a.zarr", [write_embedded(tmp_path / "a.zarr")])


class TestNamedArray(ReaderContract):
    @pytest.fixture
    def case(self, tmp_path: Path) -> Case:
        pixels = np.random.default_rng(0).normal(size=(20, 15, 40)).astype("f4")
        names = ("row", "column", "feature")
        array = zarr.create_array(
            str(tmp_path / "a.zarr"), shape=pixels.shape, dtype="f4", chunks=(20, 15, 40), dimension_names=names
        )
        array[...] = pixels
        return Case(tmp_path / "a.zarr", [pixels])

    def test_it_is_an_image_of_features(self, case: Case) -> None:
        with open_image(case.path) as image:
            assert image.info.features is not None
            assert image.info.channels == 40


def test_the_description(tmp_path: Path) -> None:
    write_embedded(tmp_path / "a.zarr")
    with open_image(tmp_path / "a.zarr") as image:
        info, grid = image.info, image.info.features
    assert grid is not None
    assert (info.height, info.width, info.channels, info.format, info.mpp) == (7, 10, 6, "fit features", 8.0)
    assert (grid.side, grid.slide, grid.mpp, grid.missing) == (16, (105, 160), 0.5, 4 * 4)
    assert find_images(tmp_path).images == [tmp_path / "a.zarr"]


def test_features_of_groups_alone(tmp_path: Path) -> None:
    write_embedded(tmp_path / "a.zarr", patches=False)
    with pytest.raises(ImageError, match="write those of patches with `fit embed --patches`"):
        open_image(tmp_path / "a.zarr")


def attribute(**values: Any) -> Any:
    def change(path: Path) -> None:
        document = json.loads((path / "zarr.json").read_text())
        document["attributes"].update(values)
        (path / "zarr.json").write_text(json.dumps(document))

    return change


def array(name: str, **values: Any) -> Any:
    def change(path: Path) -> None:
        document = json.loads((path / name / "zarr.json").read_text())
        (path / name / "zarr.json").write_text(json.dumps(document | values))

    return change


BAD: dict[str, tuple[Any, str]] = {
    "no size": (attribute(patch=0), "states the patch 0"),
    "a text": (attribute(group="4"), "states the group 4"),
    "another group": (attribute(group=5), r"has patches \(5, 16, 6\)"),
    "huge": (attribute(height=2**30, width=2**30), "places; fit reads at most"),
    "outside": (attribute(height=16), "twice or outside"),
    "more patches": (array("patches", shape=[9, 16, 6]), r"has patches \(9, 16, 6\) and coordinates \(5, 2\)"),
    "bytes": (array("patches", data_type="uint8", fill_value=0), "has patches of uint8"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_in_one_line(name: str, tmp_path: Path) -> None:
    change, message = BAD[name]
    write_embedded(tmp_path / "a.zarr")
    change(tmp_path / "a.zarr")
    with pytest.raises(ImageError, match=message) as caught:
        open_image(tmp_path / "a.zarr")
    assert "\n" not in str(caught.value)
