"""Varieties of zarr that are read, compared with the array that zarr-python wrote."""

from __future__ import annotations

import json
import os
import tracemalloc
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
    """[height, width, channels]"""
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
    """A variety that is one array, its axes in the order given."""

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


def test_a_level_can_be_opened_by_itself(tmp_path: Path):
    levels = write_multiscale(tmp_path / "image", "0.5")
    with open_image(tmp_path / "image" / "1") as reader:
        assert reader.info.format == "Zarr"
        assert_equal(read_all(reader), levels[1])
    with open_image(tmp_path / "image" / "zarr.json") as reader:
        assert len(reader.info.levels) == 3


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("sharded", [False, True])
def test_missing_chunks_are_fill(tmp_path: Path, zarr_format: int, sharded: bool):
    if sharded and zarr_format == 2:
        pytest.skip("format 2 has no shards")
    options: Any = {"shards": (96, 96)} if sharded else {}
    array = zarr.create_array(
        str(tmp_path / "image"),
        shape=(200, 200),
        dtype="f4",
        chunks=(32, 32),
        fill_value=np.nan,
        zarr_format=zarr_format,
        **options,
    )
    array[:40, 150:] = 3
    with open_image(tmp_path / "image") as reader:
        np.testing.assert_array_equal(read_all(reader)[:, :, 0], array[...])


def test_missing_fill_value_is_zero(tmp_path: Path):
    zarr.create_array(str(tmp_path / "image"), shape=(20, 20), dtype="u1", chunks=(10, 10), zarr_format=2)
    document = json.loads((tmp_path / "image" / ".zarray").read_text()) | {"fill_value": None}
    (tmp_path / "image" / ".zarray").write_text(json.dumps(document))
    with open_image(tmp_path / "image") as reader:
        assert not read_all(reader).any()


@pytest.mark.parametrize(
    ("shape", "expected"), [((9, 8), 1), ((3, 40, 50), 3), ((40, 50, 4), 4), ((7, 40, 50), 7), ((40, 50, 7), 7)]
)
def test_axes_are_guessed_from_the_shape(tmp_path: Path, shape: tuple[int, ...], expected: int):
    write_array(tmp_path / "image", np.zeros(shape, np.uint8), chunks=shape)
    with open_image(tmp_path / "image") as reader:
        assert reader.info.channels == expected


def test_named_axes_are_believed(tmp_path: Path):
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


def test_group_without_image_lists_its_members(tmp_path: Path):
    group = zarr.create_group(str(tmp_path / "image"))
    group.create_array("first", shape=(4, 4), dtype="u1")
    group.create_group("second")
    with pytest.raises(ImageError, match="first, second"):
        open_image(tmp_path / "image")


@pytest.mark.parametrize(
    ("colors", "expected"), [(("FF0000", "00FF00", "0000FF"), True), (("0000FF", "00FF00", "FFFFFF"), False)]
)
def test_colors_of_channels_are_believed(tmp_path: Path, colors: tuple[str, ...], expected: bool):
    write_multiscale(tmp_path / "image", "0.5")
    group = zarr.open_group(str(tmp_path / "image"), mode="r+")
    ome: Any = dict(group.attrs)["ome"]
    group.attrs["ome"] = ome | {"omero": {"channels": [{"color": color} for color in colors]}}
    with open_image(tmp_path / "image") as reader:
        assert reader.info.color is expected


# Stores that are damaged, or made to do harm.


def chunk_files(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file() and file.suffix != ".json" and file.name[0] != ".")


@pytest.mark.parametrize("name", ["v3_default", "v3_raw", "v3_gzip", "v3_blosc", "v3_sharded", "v2_default", "v2_lz4"])
@pytest.mark.parametrize("keep", [0.0, 0.3, 0.99])
def test_truncated_chunk_is_an_error(tmp_path: Path, name: str, keep: float):
    VARIETIES[name](tmp_path / "image")
    file = chunk_files(tmp_path / "image")[0]
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * keep)])
    with open_image(tmp_path / "image") as reader, pytest.raises(ImageError, match="level 0, chunk in row"):
        read_all(reader)


def test_wrong_checksum_is_an_error(tmp_path: Path):
    VARIETIES["v3_zstd_checksum"](tmp_path / "image")
    file = chunk_files(tmp_path / "image")[0]
    data = bytearray(file.read_bytes())
    data[100] ^= 1
    file.write_bytes(data)
    with open_image(tmp_path / "image") as reader, pytest.raises(ImageError, match="checksum"):
        read_all(reader)


@pytest.mark.parametrize("name", ["zstd", "gzip", "blosc"])
def test_chunk_that_expands_without_end_is_an_error(tmp_path: Path, name: str):
    compressors: Any = {"zstd": codecs.ZstdCodec(), "gzip": codecs.GzipCodec(), "blosc": codecs.BloscCodec()}[name]
    encode = {"zstd": numcodecs.Zstd(), "gzip": numcodecs.GZip(level=1), "blosc": numcodecs.Blosc()}[name].encode
    write_array(tmp_path / "image", picture(1)[:64, :64, 0], chunks=(64, 64), compressors=compressors)
    (tmp_path / "image" / "c" / "0" / "0").write_bytes(encode(bytes(128 << 20)))
    with open_image(tmp_path / "image") as reader:
        tracemalloc.start()
        with pytest.raises(ImageError, match="cannot be decoded"):
            read_all(reader)
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak_bytes < 8 << 20


def test_huge_chunks_are_refused(tmp_path: Path):
    zarr.create_array(str(tmp_path / "image"), shape=(2**20, 2**20), dtype="u1", chunks=(2**18, 2**18))
    with pytest.raises(ImageError, match="chunks of 65536 MiB"):
        open_image(tmp_path / "image")


def test_huge_empty_array_is_read_in_windows(tmp_path: Path):
    zarr.create_array(str(tmp_path / "image"), shape=(2**40, 2**40), dtype="u1", chunks=(512, 512), fill_value=9)
    with open_image(tmp_path / "image") as reader:
        assert (reader.read(Window(2**39, 2**39, 10, 10)) == 9).all()


@pytest.mark.parametrize("what", ["file", "folder"])
def test_links_out_of_the_store_are_refused(tmp_path: Path, what: str):
    path, outside = tmp_path / "image", tmp_path / "outside"
    write_array(path, picture(1)[:, :, 0], chunks=(64, 64), compressors=None)
    inside = path / "c" / "0"
    if what == "file":
        inside = inside / "0"
    inside.rename(outside)
    inside.symlink_to(outside)
    with open_image(path) as reader, pytest.raises(ImageError, match="leads out of the zarr store"):
        read_all(reader)


@pytest.mark.timeout(10)
def test_pipe_among_the_chunks_is_an_error(tmp_path: Path):
    write_array(tmp_path / "image", picture(1)[:, :, 0], chunks=(64, 64))
    (tmp_path / "image" / "c" / "0" / "0").unlink()
    os.mkfifo(tmp_path / "image" / "c" / "0" / "0")
    with open_image(tmp_path / "image") as reader, pytest.raises(ImageError, match="not a regular file"):
        read_all(reader)


def test_links_within_the_store_and_to_it_are_followed(tmp_path: Path):
    path = tmp_path / "image"
    write_array(path, picture(1)[:, :, 0], chunks=(64, 64))
    (path / "c" / "0" / "0").rename(path / "moved")
    (path / "c" / "0" / "0").symlink_to(path / "moved")
    (tmp_path / "link").symlink_to(path)
    with open_image(tmp_path / "link") as reader:
        assert_equal(read_all(reader), picture(1))


@pytest.mark.parametrize("place", ["../secret", "/etc", "0/../../secret", "", "."])
def test_levels_outside_the_group_are_refused(tmp_path: Path, place: str):
    write_multiscale(tmp_path / "image", "0.5", "cyx", datasets=[{"path": place}])
    write_array(tmp_path / "secret", picture(1)[:, :, 0], chunks=(64, 64))
    with pytest.raises(ImageError, match="not inside it"):
        open_image(tmp_path / "image")


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
