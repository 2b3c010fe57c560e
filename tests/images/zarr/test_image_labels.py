"""Label images inside an OME-Zarr image: their names, and the names and colours of their values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.zarr_labels import group

from fitcli.errors import ImageError
from fitcli.images.zarr.image_labels import label_images, value_names

NAMED = {
    "colors": [{"label-value": 1, "rgba": [255, 0, 0, 255]}, {"label-value": 2, "rgba": "red"}, {"label-value": 3}],
    "properties": [{"label-value": 1, "class": " tumor "}, {"label-value": 2.0, "name": "stroma"}, {"class": "none"}],
}


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_names(tmp_path: Path, version: str) -> None:
    image = group(tmp_path / "x.zarr", {}, version)
    assert label_images(image) == ()
    group(image / "labels", {"labels": ["cells", "deep/tissue", "cells"]}, version)
    assert label_images(image) == ("cells", "deep/tissue")
    label = group(image / "labels/cells", {"image-label": NAMED}, version)
    assert value_names(label) == ({1: "tumor", 2: "stroma"}, {1: (255, 0, 0)})


@pytest.mark.parametrize(
    "described", [None, [], {}, {"colors": 3, "properties": [1, {"label-value": True, "class": "a"}]}]
)
def test_nothing_named(tmp_path: Path, described: Any) -> None:
    assert value_names(group(tmp_path / "x", {"image-label": described})) == ({}, {})


@pytest.mark.parametrize("name", ["..", "../other", "a/../..", "/etc", "", "a\\b", 3])
def test_names_that_lead_out_of_the_image(tmp_path: Path, name: Any) -> None:
    group(tmp_path / "x.zarr/labels", {"labels": [name]})
    with pytest.raises(ImageError, match="is not inside it"):
        label_images(tmp_path / "x.zarr")


def test_damaged_metadata(tmp_path: Path) -> None:
    folder = group(tmp_path / "x.zarr/labels", {"labels": ["a"] * 2000})
    with pytest.raises(ImageError, match="lists 2,000 label images"):
        label_images(tmp_path / "x.zarr")
    for text in ("{", "[]", "[" * 100_000, "\xff"):
        (folder / "zarr.json").write_text(text, encoding="latin-1")
        with pytest.raises(ImageError, match="no JSON"):
            label_images(tmp_path / "x.zarr")
