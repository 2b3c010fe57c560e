"""OME-Zarr canvases, read back with zarr-python; metadata against NGFF 0.5 by hand."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from support.writer_contract import HEIGHT, WIDTH, PyramidContract, cut, halved

from fitcli.errors import ImageError
from fitcli.images.base import ImageInfo, Pixels
from fitcli.images.open import create_image
from fitcli.images.window import Window


def read_levels(path: Path) -> list[Pixels]:
    group = zarr.open_group(path, mode="r")
    datasets = group.attrs["ome"]["multiscales"][0]["datasets"]  # type: ignore[index,call-overload]
    return [np.moveaxis(group[dataset["path"]][:], 0, 2) for dataset in datasets]  # type: ignore[index,arg-type]


def write(path: Path, pixels: Pixels, *, info: dict[str, Any] | None = None, **options: Any) -> None:
    height, width, channels = pixels.shape
    described = ImageInfo(height=height, width=width, channels=channels, dtype=pixels.dtype, **(info or {}))
    with create_image(path, described, **{"chunk": 32, **options}) as image:
        image.write(Window(0, 0, height, width), pixels)


def noise(channels: int, dtype: Any, height: int = 70, width: int = 101) -> Pixels:
    return np.random.default_rng(0).integers(0, 200, (height, width, channels)).astype(dtype)


def metadata(path: Path) -> Any:
    return json.loads((path / "zarr.json").read_text(encoding="utf-8"))


class TestOmeZarr(PyramidContract):
    name = "image.zarr"

    def read_back(self, path: Path) -> list[Pixels]:
        return read_levels(path)


class TestOmeZarrOfChannels(TestOmeZarr):
    name = "image.ome.zarr"
    channels = 6
    dtype = np.uint16
    color = False


class TestUncompressedFloat(TestOmeZarr):
    channels = 1
    dtype = np.float32
    color = False
    options = {"chunk": 48, "compression": "none"}  # noqa: RUF012

    def test_levels_are_means_of_the_level_before(self, tmp_path: Path) -> None:
        pytest.skip("has other sizes")


@given(data=st.data())
@settings(max_examples=15)
def test_any_size(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("any") / "x.zarr"
    height, width = data.draw(st.integers(1, 200)), data.draw(st.integers(1, 60))
    channels = data.draw(st.integers(1, 6))
    pixels = noise(channels, data.draw(st.sampled_from(["u1", "u2", "i2", "f4"])), height, width)
    windows = cut(height, width, data.draw(st.integers(20, 150)), data.draw(st.integers(20, 150)))
    info = ImageInfo(height=height, width=width, channels=channels, dtype=pixels.dtype)
    memory_bytes = data.draw(st.sampled_from([1, 10_000, 10**7]))
    with create_image(path, info, memory_bytes=memory_bytes, chunk=data.draw(st.sampled_from([16, 32, 48]))) as image:
        for window in data.draw(st.permutations(windows)):
            image.write(window, pixels[window.slices()])
    levels = read_levels(path)
    np.testing.assert_array_equal(levels[0], pixels)
    for level, following in pairwise(levels):
        np.testing.assert_array_equal(following, halved(level))


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8"])
def test_dtypes(tmp_path: Path, dtype: str) -> None:
    write(tmp_path / "x.zarr", noise(3, dtype))
    np.testing.assert_array_equal(read_levels(tmp_path / "x.zarr")[0], noise(3, dtype))


def test_group_is_ngff_0_5(tmp_path: Path) -> None:
    write(tmp_path / "x.zarr", noise(3, "u1"), info={"mpp": 0.25, "color": True})
    document = metadata(tmp_path / "x.zarr")
    assert (document["zarr_format"], document["node_type"]) == (3, "group")
    ome = document["attributes"]["ome"]
    assert ome["version"] == "0.5"
    (multiscale,) = ome["multiscales"]
    assert multiscale["axes"] == [
        {"name": "c", "type": "channel"},
        {"name": "y", "type": "space", "unit": "micrometer"},
        {"name": "x", "type": "space", "unit": "micrometer"},
    ]
    assert [dataset["path"] for dataset in multiscale["datasets"]] == ["0", "1", "2"]
    for number, dataset in enumerate(multiscale["datasets"]):
        scale, translation = dataset["coordinateTransformations"]
        pixel, shift = 0.25 * 2**number, 0.25 * (2**number - 1) / 2
        assert scale == {"type": "scale", "scale": [1, pixel, pixel]}
        assert translation == {"type": "translation", "translation": [0, shift, shift]}
    channels = ome["omero"]["channels"]
    assert [channel["label"] for channel in channels] == ["red", "green", "blue"]
    assert [channel["color"] for channel in channels] == ["FF0000", "00FF00", "0000FF"]
    assert channels[0]["window"] == {"start": 0, "end": 255, "min": 0, "max": 255}


def test_names_and_first_range_of_channels(tmp_path: Path) -> None:
    write(tmp_path / "x.zarr", noise(2, "f4"), info={"channel_names": ("tümor", "b"), "shown": (-10, 10)})
    channels = metadata(tmp_path / "x.zarr")["attributes"]["ome"]["omero"]["channels"]
    assert [channel["label"] for channel in channels] == ["tümor", "b"]
    assert channels[0]["window"] == {"start": -10, "end": 10, "min": -10, "max": 10}


def test_unknown_resolution_has_no_unit(tmp_path: Path) -> None:
    write(tmp_path / "x.zarr", noise(1, "f4"))
    ome = metadata(tmp_path / "x.zarr")["attributes"]["ome"]
    assert ome["multiscales"][0]["axes"][1] == {"name": "y", "type": "space"}
    assert ome["multiscales"][0]["datasets"][1]["coordinateTransformations"][0]["scale"] == [1, 2, 2]
    assert ome["omero"]["channels"][0]["window"]["end"] == 1


@pytest.mark.parametrize(("channels", "per_chunk"), [(1, 1), (3, 3), (4, 4), (5, 1)])
def test_array_metadata(tmp_path: Path, channels: int, per_chunk: int) -> None:
    write(tmp_path / "x.zarr", noise(channels, "u2"))
    array = zarr.open_array(tmp_path / "x.zarr" / "0", mode="r")
    assert array.chunks == (per_chunk, 32, 32)
    assert array.shards == (channels, 256, 256)
    document = metadata(tmp_path / "x.zarr" / "0")
    assert document["dimension_names"] == ["c", "y", "x"]
    assert document["fill_value"] == 0


def test_never_written_chunks_take_no_space(tmp_path: Path) -> None:
    info = ImageInfo(height=2000, width=2000, channels=1, dtype=np.dtype(np.uint8))
    with create_image(tmp_path / "x.zarr", info, chunk=32) as image:
        image.write(Window(1000, 1000, 10, 10), np.full((10, 10, 1), 7, np.uint8))
    shards = list((tmp_path / "x.zarr" / "0" / "c").rglob("*"))
    assert [shard.name for shard in shards if shard.is_file()] == ["3"]
    assert read_levels(tmp_path / "x.zarr")[0].sum() == 700


@pytest.mark.parametrize("position", [0, 1000, -5])
def test_damage_is_noticed(tmp_path: Path, position: int) -> None:
    write(tmp_path / "x.zarr", noise(3, "u1", HEIGHT, WIDTH))
    shard = tmp_path / "x.zarr" / "0" / "c" / "0" / "0" / "0"
    data = bytearray(shard.read_bytes())
    data[position] ^= 4
    shard.write_bytes(data)
    with pytest.raises((RuntimeError, ValueError)):
        read_levels(tmp_path / "x.zarr")


def test_compressions(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="use zstd or none"):
        write(tmp_path / "x.zarr", noise(3, "u1"), compression="jpeg")


def test_a_file_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "x.zarr").write_text("a file")
    with pytest.raises(ImageError, match="not a zarr folder"):
        write(tmp_path / "x.zarr", noise(3, "u1"))
    assert (tmp_path / "x.zarr").read_text() == "a file"


def test_ome_zarr_models_accepts_it(tmp_path: Path) -> None:
    v05 = pytest.importorskip("ome_zarr_models.v05")
    write(tmp_path / "x.zarr", noise(3, "u1"), info={"mpp": 0.25})
    v05.Image.from_zarr(zarr.open_group(tmp_path / "x.zarr", mode="r"))
