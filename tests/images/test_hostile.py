"""Files forged to take all time or memory, or to show other files, give one `ImageError` or their own pixels."""

from __future__ import annotations

import json
import os
import struct
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image
from support.reader_contract import assert_equal, read_all
from zarr import codecs

from fitcli.errors import ImageError
from fitcli.images.base import Pixels
from fitcli.images.open import open_image
from fitcli.images.raster import reader as raster_reader
from fitcli.images.window import Window

GREY: Pixels = np.random.default_rng(0).integers(0, 200, (48, 64), np.uint8)

FIELDS = (
    (256, 4, 8),
    (257, 4, 8),
    (258, 3, 8),
    (259, 3, 1),
    (262, 3, 1),
    (273, 4, 8),
    (277, 3, 1),
    (278, 4, 8),
    (279, 4, 64),
)
"""(tag, type, value) of a grey TIFF of 8 x 8 pixels, which follow the header."""  # fmt: skip


def directory(following: int, *more: tuple[int, int, int, int]) -> bytes:
    """Return an image file directory; `more` are (tag, type, count, value)."""
    entries = sorted([(tag, form, 1, value) for tag, form, value in FIELDS] + list(more))
    packed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return struct.pack("<H", len(entries)) + packed + struct.pack("<I", following)


def refused(path: Path, match: str) -> None:
    with pytest.raises(ImageError, match=match) as raised, open_image(path) as reader:
        read_all(reader)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


# TIFF


def test_a_chain_of_directories_without_end(tmp_path: Path):
    start, size = 72, len(directory(0))
    chain = b"".join(directory(start + (number + 1) * size) for number in range(100_000))
    (tmp_path / "image").write_bytes(b"II*\0" + struct.pack("<I", start) + bytes(64) + chain)
    refused(tmp_path / "image", "describes far more than an image needs")


def test_a_page_with_as_many_levels_as_fit_into_the_file(tmp_path: Path):
    start, count = 72, 100_000
    size = len(directory(0, (330, 4, 1, 0)))
    first = directory(0, (330, 4, count, start + 2 * size))
    data = b"II*\0" + struct.pack("<I", start) + bytes(64) + first + directory(0).ljust(size, b"\0")
    (tmp_path / "image").write_bytes(data + struct.pack("<I", start + size) * count)
    refused(tmp_path / "image", "describes far more than an image needs")


def test_too_much_text_to_parse(tmp_path: Path):
    xml = f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">{"<a/>" * 300_000}</OME>'
    tifffile.imwrite(tmp_path / "image", GREY, description=xml, metadata=None)
    refused(tmp_path / "image", "description too long")


def test_entities_that_expand_without_end(tmp_path: Path):
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    xml = f'<?xml version="1.0"?><!DOCTYPE OME [<!ENTITY e0 "x">{entities}]><OME><UUID>&e11;</UUID></OME>'
    tifffile.imwrite(tmp_path / "image", GREY, description=xml, metadata=None)
    try:
        with open_image(tmp_path / "image") as reader:
            assert_equal(read_all(reader), GREY[:, :, None])
    except ImageError:
        pass


def test_files_beside_a_micro_manager_file_are_not_opened(tmp_path: Path):
    """tifffile follows `NDTiff.index` to other files; a pipe of that name would block it for ever."""
    os.mkfifo(tmp_path / "NDTiff.index")
    metadata = (51123, 2, 0, json.dumps({"MajorVersion": 2, "Summary": {}}), True)
    tifffile.imwrite(tmp_path / "image_NDTiffStack.tif", GREY, extratags=[metadata], metadata=None)
    with open_image(tmp_path / "image_NDTiffStack.tif") as reader:
        assert_equal(read_all(reader), GREY[:, :, None])


def test_a_palette_without_colours(tmp_path: Path):
    colors = np.zeros((3, 256), np.uint16)
    tifffile.imwrite(tmp_path / "image", GREY, photometric="palette", colormap=colors, compression="deflate")
    with tifffile.TiffFile(tmp_path / "image") as file:
        tag = file.pages[0].tags["ColorMap"]
    data = bytearray((tmp_path / "image").read_bytes())
    data[tag.offset + 4 : tag.offset + 8] = bytes(4)  # its count
    (tmp_path / "image").write_bytes(data)
    refused(tmp_path / "image", "palette without colours|cannot be read as TIFF")


@pytest.mark.parametrize(("tag", "value"), [(273, 2**63 - 8), (279, 2**63 - 1), (273, 2**62)])
def test_chunks_whose_end_overflows(tmp_path: Path, tag: int, value: int):
    entries = [(t, 16 if t == tag else form, 1, value if t == tag else v) for t, form, v in FIELDS]
    packed = struct.pack("<Q", len(entries)) + b"".join(struct.pack("<HHQQ", *entry) for entry in entries)
    (tmp_path / "image").write_bytes(b"II+\0" + struct.pack("<HHQ", 8, 0, 80) + bytes(64) + packed + bytes(8))
    with pytest.raises(ImageError, match="bytes before its pixels do"):
        open_image(tmp_path / "image")


# PNG


def png(*parts: tuple[bytes, bytes]) -> bytes:
    """Return a PNG file of (name, content), with matching checksums."""
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in parts
    )


@pytest.mark.walk(1)
@pytest.mark.parametrize("at_once", [raster_reader.AT_ONCE_BYTES, 0])
def test_every_flipped_bit_of_a_png_is_noticed_or_harmless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
):
    monkeypatch.setattr(raster_reader, "AT_ONCE_BYTES", at_once)
    path = tmp_path / "image"
    Image.fromarray(GREY[:12, :16]).save(path, "PNG")
    good = path.read_bytes()
    for at in range(8 * len(good)):
        data = bytearray(good)
        data[at // 8] ^= 1 << at % 8
        path.write_bytes(data)
        try:
            with open_image(path) as reader:
                assert_equal(read_all(reader), GREY[:12, :16, None])
        except ImageError:
            pass


@pytest.mark.walk(1)
@pytest.mark.parametrize("at_once", [raster_reader.AT_ONCE_BYTES, 0])
def test_texts_and_profiles_that_unpack_without_end_are_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], at_once: int
):
    monkeypatch.setattr(raster_reader, "AT_ONCE_BYTES", at_once)
    bomb = zlib.compress(bytes(200 << 20), 9)
    header = (b"IHDR", struct.pack(">IIBBBBB", 64, 48, 8, 0, 0, 0, 0))
    texts = ((b"iCCP", b"name\0\0" + bomb), (b"zTXt", b"word\0\0" + bomb), (b"iTXt", b"word\0\1\0\0\0" + bomb))
    rows = zlib.compress(np.pad(GREY, ((0, 0), (1, 0))).tobytes())
    (tmp_path / "image").write_bytes(png(header, *texts, (b"IDAT", rows), (b"IEND", b"")))
    results: list[Pixels] = []

    def read() -> None:
        with open_image(tmp_path / "image") as reader:
            results.append(read_all(reader))

    assert peak_memory(read) < 4 << 20
    assert_equal(results[0], GREY[:, :, None])
    assert capfd.readouterr().err == ""


def test_a_jpeg_with_segments_without_end_in_front_of_its_pixels(tmp_path: Path):
    Image.fromarray(GREY).save(tmp_path / "image", "JPEG")
    data = (tmp_path / "image").read_bytes()
    (tmp_path / "image").write_bytes(data[:2] + (b"\xff\xe1\xff\xff" + bytes(65533)) * 1100 + data[2:])
    refused(tmp_path / "image", "has no frame header")


@pytest.mark.parametrize("frame", ["no height", "no samples", "sampled 0 times", "200 samples"])
def test_invalid_jpeg_headers(tmp_path: Path, frame: str):
    Image.fromarray(GREY).convert("RGB").save(tmp_path / "image", "JPEG")
    data = bytearray((tmp_path / "image").read_bytes())
    at = data.index(b"\xff\xc0")
    place = {
        "no height": slice(at + 5, at + 7),
        "no samples": at + 9,
        "sampled 0 times": at + 11,
        "200 samples": at + 9,
    }
    data[place[frame]] = {"no height": b"\0\0", "200 samples": 200}.get(frame, 0)
    (tmp_path / "image").write_bytes(data)
    refused(tmp_path / "image", "header is invalid|not an image that fit can read|no frame header")


def test_forged_pngs_by_the_hundred_do_not_end_the_process(tmp_path: Path):
    """imagecodecs 2026.3.6 releases a reference to None that it does not own with each PNG that it cannot decode."""
    header = struct.pack(">IIBBBBB", 64, 48, 8, 0, 0, 0, 0)
    (tmp_path / "image").write_bytes(png((b"IHDR", header), (b"IDAT", b"no zlib stream"), (b"IEND", b"")))
    refused(tmp_path / "image", "cannot be decoded")
    before = sys.getrefcount(None)
    for _ in range(300):
        refused(tmp_path / "image", "cannot be decoded")
    assert sys.getrefcount(None) > before - 150


# zarr


def write_array(path: Path, **options: Any) -> zarr.Array:
    array = zarr.create_array(str(path), shape=GREY.shape, dtype="u1", chunks=(16, 16), **options)
    array[...] = GREY
    return array


def change(path: Path, act: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads(path.read_text())
    act(document)
    path.write_text(json.dumps(document))


BOMBS: dict[str, Any] = {
    "lz4": numcodecs.LZ4(),
    "zlib": numcodecs.Zlib(),
    "bz2": numcodecs.BZ2(),
    "lzma": numcodecs.LZMA(),
    "zstd": numcodecs.Zstd(),
    "gzip": numcodecs.GZip(),
}


@pytest.mark.walk
@pytest.mark.parametrize("filtered", [False, True])
@pytest.mark.parametrize("name", BOMBS)
def test_chunk_that_expands_without_end(tmp_path: Path, name: str, filtered: bool):
    filters = [numcodecs.Delta(dtype="u1")] if filtered else None
    write_array(tmp_path / "image", compressors=BOMBS[name], filters=filters, zarr_format=2)
    (tmp_path / "image" / "0.0").write_bytes(BOMBS[name].encode(bytes(64 << 20)))
    peak = peak_memory(lambda: refused(tmp_path / "image", "cannot be decoded"))
    assert peak < 4 << 20


@pytest.mark.parametrize("length", [3, 16, 31, 150, 271])
def test_a_blosc_chunk_that_is_cut_off_does_not_show_what_lies_behind_it_in_memory(tmp_path: Path, length: int):
    """Incompressible data is stored as it is; the decoder copies as many bytes as its header claims."""
    path = tmp_path / "image"
    write_array(path, compressors=numcodecs.Blosc(cname="lz4"), zarr_format=2)
    noise = np.random.default_rng(0).integers(0, 256, (16, 16), np.uint8)
    encoded = numcodecs.Blosc(cname="lz4").encode(noise)
    assert len(encoded) == 272, "stored uncompressed"
    (path / "0.0").write_bytes(encoded)
    with open_image(path) as reader:
        assert_equal(reader.read(Window(0, 0, 16, 16))[:, :, 0], noise)
    (path / "0.0").write_bytes(encoded[:length])
    refused(path, "ends early")


def peak_memory(act: Callable[[], object]) -> int:

    tracemalloc.start()
    try:
        act()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("filters", [[{"id": "zlib", "level": 1}], [{"id": "pickle"}], [{"id": "vlen-bytes"}]])
def test_filters_that_are_not_bounded_are_refused(tmp_path: Path, filters: list[dict[str, Any]]):
    write_array(tmp_path / "image", zarr_format=2)
    change(tmp_path / "image" / ".zarray", lambda document: document.update(filters=filters))
    refused(tmp_path / "image", "encoded in a way|cannot be read as zarr")


def test_codecs_within_codecs_are_refused(tmp_path: Path):
    write_array(tmp_path / "twice", compressors=[codecs.ZstdCodec(), codecs.GzipCodec()])
    refused(tmp_path / "twice", "encoded in a way that fit does not read; write it again with zstd")
    inner = codecs.ShardingCodec(chunk_shape=(8, 8))
    write_array(tmp_path / "nested", serializer=inner, shards=(48, 64))
    refused(tmp_path / "nested", "encoded in a way that fit does not read")


def test_an_index_of_a_shard_without_end(tmp_path: Path):
    path = tmp_path / "image"
    zarr.create_array(str(path), shape=(2**14, 2**14), dtype="u1", chunks=(2, 2), shards=(2**14, 2**14))
    refused(path, "shards of 67,108,864 chunks")


def test_chunks_of_no_pixels(tmp_path: Path):
    write_array(tmp_path / "image", zarr_format=2)
    change(tmp_path / "image" / ".zarray", lambda document: document.update(chunks=[0, 16]))
    refused(tmp_path / "image", "declares chunks of|cannot be read as zarr")


@pytest.mark.parametrize(
    ("shape", "chunks", "match"),
    [
        ((10**12, 16, 16), (1, 16, 16), "claims 1,000,000,000,000 channels"),
        ((3, 2**20, 2**20), (3, 1, 1), "chunks of 1 x 1 pixels"),
    ],
)
def test_claims_that_cost_nothing(tmp_path: Path, shape: tuple[int, ...], chunks: tuple[int, ...], match: str):
    zarr.create_array(str(tmp_path / "image"), shape=shape, dtype="u1", chunks=chunks, dimension_names=["c", "y", "x"])
    refused(tmp_path / "image", match)


@pytest.mark.parametrize("name", [".zarray", ".zattrs", ".zgroup", ".zmetadata"])
@pytest.mark.parametrize("what", ["pipe", "link", "huge"])
def test_metadata_that_are_not_regular_files(tmp_path: Path, name: str, what: str):
    path = tmp_path / "image"
    write_array(path, zarr_format=2)
    (path / name).unlink(missing_ok=True)
    (tmp_path / "outside").write_text("{}")
    if what == "pipe":
        os.mkfifo(path / name)
    elif what == "link":
        (path / name).symlink_to(tmp_path / "outside")
    else:
        with (path / name).open("wb") as file:
            file.truncate(1 << 40)  # takes no space
    if what == "pipe" and name == ".zarray":
        (path / ".zattrs").write_text("{}")  # something has to make it a zarr folder
    refused(path, "not a regular file|leads out of the zarr store|MiB of metadata")


def test_a_level_that_is_a_link_out_of_the_store(tmp_path: Path):
    group = zarr.create_group(str(tmp_path / "image"), zarr_format=2)
    axes = [{"name": "y", "type": "space"}, {"name": "x", "type": "space"}]
    scale = [{"type": "scale", "scale": [1, 1]}]
    datasets = [{"path": "0", "coordinateTransformations": scale}]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    write_array(tmp_path / "secret", zarr_format=2)
    (tmp_path / "image" / "0").symlink_to(tmp_path / "secret")
    refused(tmp_path / "image", "leads out of the zarr store")


# NaN and infinity


@pytest.mark.parametrize("kind", ["tiff", "tiff-compressed", "zarr"])
def test_nan_and_infinity_come_as_they_are(tmp_path: Path, kind: str):
    pixels = np.linspace(-1, 1, 48 * 64, dtype=np.float32).reshape(48, 64)
    pixels[3, 5], pixels[4, 6], pixels[40, 60] = np.nan, np.inf, -np.inf
    path = tmp_path / "image"
    if kind == "zarr":
        zarr.create_array(str(path), shape=pixels.shape, dtype="f4", chunks=(16, 16))[...] = pixels
    else:
        tifffile.imwrite(path, pixels, compression="deflate" if kind == "tiff-compressed" else None)
    with open_image(path) as reader:
        assert_equal(read_all(reader), pixels[:, :, None])
