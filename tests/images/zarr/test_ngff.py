"""Metadata of OME-Zarr, in documents and in files that zarr-python wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from fitcli.errors import ImageError
from fitcli.images.open import open_image
from fitcli.images.zarr.ngff import array_axes, check_axes
from fitcli.images.zarr.ngff import multiscale as parse
from tests.images.zarr.test_reader import multiscale, picture, write_array, write_multiscale


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_metadata(tmp_path: Path, version: str):
    write_multiscale(tmp_path / "image", version)
    with open_image(tmp_path / "image") as reader:
        info = reader.info
    assert info.format == f"OME-Zarr {version}"
    assert info.axes == "TCZYX"
    assert info.mpp == pytest.approx(0.25)
    assert info.chunk == (64, 64)
    assert info.color
    assert [level.downsample for level in info.levels] == [1, 2, 4]


@pytest.mark.parametrize(
    ("unit", "expected"), [("nanometer", 0.00025), ("meter", 250000.0), (None, None), ("pc", None)]
)
def test_units(tmp_path: Path, unit: str | None, expected: float | None):
    axes = multiscale("0.5", "cyx", unit)["axes"]
    write_multiscale(tmp_path / "image", "0.5", "cyx", axes=axes)
    with open_image(tmp_path / "image") as reader:
        assert reader.info.mpp == (None if expected is None else pytest.approx(expected))


def test_scale_of_the_whole_image_counts(tmp_path: Path):
    whole = [{"type": "scale", "scale": [1, 2, 2]}]
    write_multiscale(tmp_path / "image", "0.5", "cyx", coordinateTransformations=whole)
    with open_image(tmp_path / "image") as reader:
        assert reader.info.mpp == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("shape", "expected"), [((9, 8), 1), ((3, 40, 50), 3), ((40, 50, 4), 4), ((7, 40, 50), 7), ((40, 50, 7), 7)]
)
def test_axes_are_guessed_from_the_shape(tmp_path: Path, shape: tuple[int, ...], expected: int):
    write_array(tmp_path / "image", np.zeros(shape, np.uint8), chunks=shape)
    with open_image(tmp_path / "image") as reader:
        assert reader.info.channels == expected


def test_names_of_axes_are_used(tmp_path: Path):
    write_array(
        tmp_path / "image", np.zeros((3, 40, 50), np.uint8), chunks=(3, 40, 50), dimension_names=["y", "x", "c"]
    )
    with open_image(tmp_path / "image") as reader:
        assert (reader.info.size, reader.info.channels) == ((3, 40), 50)


@pytest.mark.parametrize(("axes", "what"), [("tcyx", "time points"), ("zcyx", "focal planes")])
def test_several_planes_are_refused(tmp_path: Path, axes: str, what: str):
    write_array(tmp_path / "image", np.zeros((4, 3, 8, 8), np.uint8), chunks=(1, 3, 8, 8), dimension_names=list(axes))
    with pytest.raises(ImageError, match=f"4 {what}"):
        open_image(tmp_path / "image")


@pytest.mark.parametrize(
    ("colors", "expected"), [(("FF0000", "00FF00", "0000FF"), True), (("0000FF", "00FF00", "FFFFFF"), False)]
)
def test_colors_of_channels_are_used(tmp_path: Path, colors: tuple[str, ...], expected: bool):
    write_multiscale(tmp_path / "image", "0.5")
    group = zarr.open_group(str(tmp_path / "image"), mode="r+")
    ome: Any = dict(group.attrs)["ome"]
    group.attrs["ome"] = ome | {"omero": {"channels": [{"color": color} for color in colors]}}
    with open_image(tmp_path / "image") as reader:
        assert reader.info.color is expected


@pytest.mark.parametrize("place", ["../secret", "/etc", "0/../../secret", "", "."])
def test_levels_outside_the_group_are_refused(tmp_path: Path, place: str):
    write_multiscale(tmp_path / "image", "0.5", "cyx", datasets=[{"path": place}])
    write_array(tmp_path / "secret", picture(1)[:, :, 0], chunks=(64, 64))
    with pytest.raises(ImageError, match="not inside it"):
        open_image(tmp_path / "image")


def document(version: str, **changes: Any) -> dict[str, Any]:
    """Return the attributes of a group in a version of NGFF."""
    datasets = [{"path": "0"}, {"path": "deep/1"}]
    described = {"datasets": datasets} | changes
    if version == "0.5":
        return {"ome": {"version": version, "multiscales": [described]}}
    return {"multiscales": [described | {"version": version}], "other": 1}


@pytest.mark.parametrize("version", ["0.1", "0.3", "0.4", "0.5"])
def test_every_version(version: str):
    axes: dict[str, Any] = {
        "0.1": {},
        "0.3": {"axes": ["t", "c", "z", "y", "x"]},
        "0.4": {"axes": [{"name": name} for name in "tczyx"]},
        "0.5": {"axes": [{"name": name} for name in ("time", "Channel", "depth", "rows", "columns")]},
    }
    image = parse(document(version, **axes[version]), Path("image"))
    assert image is not None
    assert (image.version, image.axes, image.paths) == (version, "tczyx", ("0", "deep/1"))
    assert (image.mpp, image.color) == (None, None)


@pytest.mark.parametrize("attributes", [{}, {"ome": {}}, {"multiscales": []}, {"ome": {"multiscales": None}}])
def test_groups_without_an_image(attributes: dict[str, Any]):
    assert parse(attributes, Path("image")) is None


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"datasets": []}, "lists no arrays"),
        ({"axes": ["y", "y"]}, "axes that fit does not read"),
        ({"axes": ["a", "b"]}, "name them t, c, z, y, x"),
        ({"datasets": [{"path": "..\\secret"}]}, "not inside it"),
    ],
)
def test_documents_that_are_refused(changes: dict[str, Any], match: str):
    with pytest.raises(ImageError, match=match):
        parse(document("0.5", **changes), Path("image"))


@pytest.mark.parametrize(
    ("shape", "names", "axes"),
    [
        ((9, 8), None, "yx"),
        ((3, 40, 50), None, "cyx"),
        ((40, 50, 4), None, "yxc"),
        ((40, 50, 7), None, "yxc"),
        ((145, 145, 200), None, "yxc"),  # two equal sides are an image: Indian Pines
        ((224, 145, 145), None, "cyx"),
        ((145, 145, 3), None, "yxc"),
        ((3, 145, 145), None, "cyx"),
        ((3, 3, 145), None, "cyx"),
        ((1, 3, 40, 50), None, "zcyx"),
        ((1, 1, 3, 40, 50), None, "tzcyx"),
        ((40, 50), ["lat", "lon"], "yx"),
        ((40, 50, 3), ["y", "x", "band"], "yxc"),
        ((40, 50, 3), ["y", "x"], "yxc"),
        ((40, 50, 3), [None, None, None], "yxc"),
    ],
)
def test_axes_of_an_array(shape: tuple[int, ...], names: list[Any] | None, axes: str):
    assert array_axes(shape, names) == axes


@pytest.mark.parametrize("shape", [(), (5,), (2, 3, 40, 50), (1, 1, 1, 3, 40, 50)])
def test_arrays_that_are_not_images(shape: tuple[int, ...]):
    advice = "no image; give another array" if len(shape) < 2 else "name its axes, or save one plane"
    with pytest.raises(ValueError, match=f"^holds an array .*{advice}$"):
        array_axes(shape, None)


def test_every_axis_has_a_name():
    check_axes("tcyx", (1, 3, 40, 50), Path("image"))
    with pytest.raises(ImageError, match="names 3 axes"):
        check_axes("cyx", (40, 50), Path("image"))
