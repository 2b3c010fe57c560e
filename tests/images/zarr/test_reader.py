"""Varieties of zarr are read as the array that zarr-python wrote."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr
from support.reader_contract import Case, ReaderContract, assert_equal, read_all
from zarr import codecs

from fitcli.errors import ImageError
from fitcli.images.base import Pixels
from fitcli.images.open import open_image
from fitcli.images.window import Window

HEIGHT, WIDTH = 203, 277


def picture(channels: int = 3, dtype: str = "u1") -> Pixels:
    """Return pixels [height, width, channels]."""
    rng = np.random.default_rng(0)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return rng.normal(size=(HEIGHT, WIDTH, channels)).astype(kind)
    return rng.integers(0, 2 if kind.kind == "b" else 200, (HEIGHT, WIDTH, channels)).astype(kind)


def write_array(path: Path, pixels: Pixels, **options: Any) -> zarr.Array:
    array = zarr.create_array(str(path), shape=pixels.shape, dtype=pixels.dtype, **options)
    array[...] = pixels
    return array


VARIETIES: dict[str, Callable[[Path], list[Pixels]]] = {}


def plain(name: str, pixels: Pixels, axes: str, **options: Any) -> None:
    """Add a variety that is one array, with axes in the given order."""

    def write(path: Path) -> list[Pixels]:
        stored = pixels.transpose(["yxc".index(axis) for axis in axes]) if "c" in axes else pixels[:, :, 0]
        write_array(path, stored, **options)
        return [pixels]

    VARIETIES[name] = write


CYX, YXC, V2 = (3, 64, 64), (64, 64, 3), {"zarr_format": 2}
plain("v3_default", picture(), "cyx", chunks=CYX)
plain("v3_channels_last", picture(), "yxc", chunks=YXC)
plain("v3_grey", picture(1), "yx", chunks=(64, 48))
plain("v3_chunk_per_channel", picture(5, "u2"), "cyx", chunks=(1, 64, 64))
plain("v3_two_of_five_channels", picture(5, "u2"), "cyx", chunks=(2, 64, 64))
plain("v3_raw", picture(), "cyx", chunks=CYX, compressors=None)
plain("v3_gzip", picture(), "cyx", chunks=CYX, compressors=codecs.GzipCodec())
plain("v3_blosc", picture(dtype="u2"), "cyx", chunks=CYX, compressors=codecs.BloscCodec(cname="lz4", shuffle="shuffle"))
plain(
    "v3_zstd_checksum",
    picture(),
    "cyx",
    chunks=CYX,
    compressors=[codecs.ZstdCodec(checksum=True), codecs.Crc32cCodec()],
)
plain("v3_big_endian", picture(dtype="u2"), "cyx", chunks=CYX, serializer=codecs.BytesCodec(endian="big"))
plain("v3_transposed", picture(), "cyx", chunks=CYX, filters=codecs.TransposeCodec(order=(1, 2, 0)))
plain("v3_dotted_names", picture(), "cyx", chunks=CYX, chunk_key_encoding={"name": "default", "separator": "."})
plain("v3_names_of_v2", picture(), "cyx", chunks=CYX, chunk_key_encoding={"name": "v2", "separator": "/"})
plain("v3_sharded", picture(), "cyx", chunks=CYX, shards=(3, 128, 128))
plain("v3_sharded_channels_last", picture(), "yxc", chunks=YXC, shards=(128, 192, 3), compressors=None)
plain("v3_sharded_per_channel", picture(4, "u2"), "cyx", chunks=(1, 32, 64), shards=(4, 64, 128))
plain("v2_default", picture(), "cyx", chunks=CYX, **V2)
plain("v2_channels_last", picture(), "yxc", chunks=YXC, **V2)
plain("v2_raw", picture(dtype="u2"), "cyx", chunks=CYX, compressors=None, **V2)
plain("v2_f_order", picture(), "cyx", chunks=CYX, order="F", **V2)
plain("v2_blosc", picture(), "cyx", chunks=CYX, compressors=numcodecs.Blosc(cname="zstd"), **V2)
plain("v2_zlib", picture(), "cyx", chunks=CYX, compressors=numcodecs.Zlib(), **V2)
plain("v2_gzip", picture(), "cyx", chunks=CYX, compressors=numcodecs.GZip(), **V2)
plain("v2_lz4", picture(), "cyx", chunks=CYX, compressors=numcodecs.LZ4(), **V2)
plain("v2_big_endian", picture(dtype=">u2"), "cyx", chunks=CYX, **V2)
plain("v2_nested_folders", picture(), "cyx", chunks=CYX, chunk_key_encoding={"name": "v2", "separator": "/"}, **V2)

plain("v2_bz2", picture(), "cyx", chunks=CYX, compressors=numcodecs.BZ2(), **V2)
plain("v2_lzma", picture(), "cyx", chunks=CYX, compressors=numcodecs.LZMA(), **V2)
plain("v2_shuffle", picture(dtype="u2"), "cyx", chunks=CYX, filters=[numcodecs.Shuffle(2)], **V2)
plain("v2_delta", picture(dtype="u2"), "cyx", chunks=CYX, filters=[numcodecs.Delta(dtype="u2")], **V2)
for _dtype in ("?", "i1", "i2", "u4", "i8", "f2", "f4", "f8"):
    plain(f"dtype_{np.dtype(_dtype)}", picture(1, _dtype), "yx", chunks=(64, 64))


def multiscale(version: str, axes: str, unit: str | None = "micrometer") -> dict[str, Any]:
    kinds = {"t": "time", "c": "channel"}
    described: list[dict[str, Any]] = [{"name": axis, "type": kinds.get(axis, "space")} for axis in axes]
    for axis in described:
        if unit and axis["type"] == "space":
            axis["unit"] = unit
    datasets = []
    for level in range(3):
        scale = [0.25 * 2**level if axis in "yx" else 1.0 for axis in axes]
        datasets.append({"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": scale}]})
    return {"version": version, "axes": described, "datasets": datasets}


def write_multiscale(path: Path, version: str, axes: str = "tczyx", /, **changes: Any) -> list[Pixels]:
    zarr_format: Any = 2 if version == "0.4" else 3
    levels = [picture(), picture()[: HEIGHT // 2 * 2 : 2, : WIDTH // 2 * 2 : 2], picture()[:200:4, :276:4]]
    group = zarr.create_group(str(path), zarr_format=zarr_format)
    image = multiscale(version, axes) | changes
    group.attrs.update(
        {"multiscales": [image]} if version == "0.4" else {"ome": {"version": version, "multiscales": [image]}}
    )
    for number, level in enumerate(levels):
        stored = level.transpose(["yxc".index(axis) for axis in axes if axis in "yxc"])
        stored = np.expand_dims(stored, [at for at, axis in enumerate(axes) if axis not in "yxc"])
        chunks = tuple(64 if axis in "yx" else 1 for axis in axes)
        names = {} if version == "0.4" else {"dimension_names": list(axes)}
        write_array(path / str(number), stored, chunks=chunks, zarr_format=zarr_format, **names)
    return levels


VARIETIES["ome_0.4"] = lambda path: write_multiscale(path, "0.4")
VARIETIES["ome_0.5"] = lambda path: write_multiscale(path, "0.5")
VARIETIES["ome_0.5_cyx"] = lambda path: write_multiscale(path, "0.5", "cyx")


@pytest.fixture(scope="module", params=VARIETIES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    path = tmp_path_factory.mktemp("zarr") / "image"
    levels = VARIETIES[request.param](path)
    return Case(path, [level.astype(level.dtype.newbyteorder("=")) for level in levels])


class TestZarr(ReaderContract):
    pass


def test_a_level_can_be_opened_by_itself(tmp_path: Path):
    levels = write_multiscale(tmp_path / "image", "0.5")
    with open_image(tmp_path / "image" / "1") as reader:
        assert reader.info.format == "Zarr"
        assert_equal(read_all(reader), levels[1])
    with open_image(tmp_path / "image" / "zarr.json") as reader:
        assert len(reader.info.levels) == 3


def test_group_without_image_lists_its_members(tmp_path: Path):
    group = zarr.create_group(str(tmp_path / "image"))
    group.create_array("first", shape=(4, 4), dtype="u1")
    group.create_group("second")
    with pytest.raises(ImageError, match="first, second"):
        open_image(tmp_path / "image")


# Damaged and forged stores.


def test_huge_chunks_are_refused(tmp_path: Path):
    zarr.create_array(str(tmp_path / "image"), shape=(2**20, 2**20), dtype="u1", chunks=(2**18, 2**18))
    with pytest.raises(ImageError, match="chunks of 65536 MiB"):
        open_image(tmp_path / "image")


def test_huge_empty_array_is_read_in_windows(tmp_path: Path):
    zarr.create_array(str(tmp_path / "image"), shape=(2**40, 2**40), dtype="u1", chunks=(512, 512), fill_value=9)
    with open_image(tmp_path / "image") as reader:
        assert (reader.read(Window(2**39, 2**39, 10, 10)) == 9).all()


@pytest.mark.parametrize("damage", ["{", "[]", '{"zarr_format": 3}', '{"zarr_format": 9, "node_type": "array"}'])
def test_broken_metadata_is_an_error(tmp_path: Path, damage: str):
    write_array(tmp_path / "image", picture(1)[:, :, 0], chunks=(64, 64))
    (tmp_path / "image" / "zarr.json").write_text(damage)
    with pytest.raises(ImageError, match=r"cannot be read as zarr|without OME-Zarr metadata"):
        open_image(tmp_path / "image")


def test_missing_level_is_an_error(tmp_path: Path):
    write_multiscale(tmp_path / "image", "0.5", datasets=[{"path": "7"}])
    with pytest.raises(ImageError, match="no array '7'"):
        open_image(tmp_path / "image")


def test_opening_creates_nothing(tmp_path: Path):
    write_array(tmp_path / "image", picture(1)[:, :, 0], chunks=(64, 64))
    before = sorted(tmp_path.rglob("*"))
    open_image(tmp_path / "image").close()
    assert sorted(tmp_path.rglob("*")) == before
