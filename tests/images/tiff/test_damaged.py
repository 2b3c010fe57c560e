"""TIFF files that are damaged or forged give an `ImageError`, never wrong pixels."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from support.reader_contract import assert_equal, read_all

from fitcli.errors import ImageError
from fitcli.images.open import open_image
from fitcli.images.window import Window
from tests.images.tiff.test_reader import VARIETIES, picture


def overwrite(path: Path, tag: str, value: Any) -> None:
    with tifffile.TiffFile(path, mode="r+b") as file:
        file.pages[0].tags[tag].overwrite(value)


@pytest.mark.parametrize("name", ["raw_tiles", "raw_strips", "jpeg_ycbcr", "deflate_one_strip", "zstd_odd_tiles"])
@pytest.mark.parametrize("keep", [0.001, 0.01, 0.1, 0.5, 0.9, 0.999])
def test_truncated_file_is_an_error(tmp_path: Path, name: str, keep: float):
    path = tmp_path / "image"
    VARIETIES[name](path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(ImageError):
        open_image(path)


def test_truncated_pyramid_is_an_error(tmp_path: Path):
    path = tmp_path / "image"
    VARIETIES["pyramid_of_reduced_pages"](path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ImageError):
        open_image(path)


def test_file_that_shrinks_while_open_is_an_error(tmp_path: Path):
    path = tmp_path / "image"
    VARIETIES["raw_tiles"](path)
    with open_image(path) as reader:
        path.write_bytes(path.read_bytes()[:20000])
        with pytest.raises(ImageError, match="early"):
            read_all(reader)


@pytest.mark.parametrize("name", ["raw_tiles", "raw_one_strip", "deflate_one_strip", "lzw_predictor_tiles"])
def test_forged_size_is_an_error(tmp_path: Path, name: str):
    path = tmp_path / "image"
    VARIETIES[name](path)
    overwrite(path, "ImageLength", 65535)
    overwrite(path, "ImageWidth", 65535)
    with pytest.raises(ImageError), open_image(path) as reader:
        reader.read(Window(60000, 60000, 100, 100))


def test_huge_chunks_are_refused(tmp_path: Path):
    path = tmp_path / "image"
    VARIETIES["deflate_one_strip"](path)
    overwrite(path, "ImageLength", 65535)
    overwrite(path, "RowsPerStrip", 65535)
    overwrite(path, "ImageWidth", 65535)
    with pytest.raises(ImageError, match="chunks of 12287 MiB"):
        open_image(path)


def replace_first_chunk(path: Path, data: bytes) -> None:
    with tifffile.TiffFile(path, mode="r+b") as file:
        page = file.pages[0]
        counts, offsets = list(page.databytecounts), list(page.dataoffsets)
        end = file.filehandle.seek(0, 2) or file.filehandle.tell()
        file.filehandle.write(data)
        offsets[0], counts[0] = end, len(data)
        page.tags["TileOffsets"].overwrite(offsets)
        page.tags["TileByteCounts"].overwrite(counts)


BOMBS = {
    "jpeg": ("jpeg_ycbcr", lambda: imagecodecs.jpeg_encode(np.zeros((5000, 5000, 3), np.uint8))),
    "deflate": ("lzw_predictor_tiles", lambda: imagecodecs.deflate_encode(bytes(256 << 20))),
    "zstd": ("zstd_odd_tiles", lambda: imagecodecs.zstd_encode(bytes(256 << 20))),
    "jpeg2000": ("jpeg2000", lambda: imagecodecs.jpeg2k_encode(np.zeros((4000, 4000), np.uint8), codecformat="j2k")),
    "webp": ("webp", lambda: imagecodecs.webp_encode(np.zeros((3000, 3000, 3), np.uint8), lossless=True)),
}


@pytest.mark.walk(2)
@pytest.mark.parametrize("name", BOMBS)
def test_chunk_that_is_larger_than_declared_is_an_error(tmp_path: Path, name: str):
    variety, bomb = BOMBS[name]
    path = tmp_path / "image"
    VARIETIES[variety](path)
    replace_first_chunk(path, bomb())
    with open_image(path) as reader:
        tracemalloc.start()
        with pytest.raises(ImageError, match="row 0, column 0 cannot be decoded"):
            reader.read(Window(0, 0, 10, 10))
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak_bytes < 8 << 20


@pytest.mark.parametrize("name", ["jpeg_ycbcr", "lzw_predictor_tiles", "zstd_odd_tiles", "deflate_predictor_strips"])
def test_chunk_of_garbage_names_its_place(tmp_path: Path, name: str):
    path = tmp_path / "image"
    VARIETIES[name](path)
    with tifffile.TiffFile(path) as file:
        offset, count = file.pages[0].dataoffsets[-1], file.pages[0].databytecounts[-1]
    data = bytearray(path.read_bytes())
    data[offset : offset + count] = bytes(range(1, 256)) * (count // 255) + bytes(count % 255)
    path.write_bytes(data)
    with open_image(path) as reader, pytest.raises(ImageError, match=r"level 0, chunk in row \d+, column \d+ cannot"):
        read_all(reader)


@pytest.mark.parametrize("name", ["other.tif", "../other.tif", "/etc/passwd", "missing.tif"])
def test_pixels_from_other_files_are_refused(tmp_path: Path, name: str):
    folder = tmp_path / "folder"
    folder.mkdir()
    path = folder / "image.ome.tif"
    for secret in (tmp_path / "other.tif", folder / "other.tif"):
        tifffile.imwrite(secret, np.full((32, 32), 77, np.uint8))
    xml = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:1">'
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="32" SizeY="32" SizeC="2"'
        ' SizeZ="1" SizeT="1"><TiffData IFD="0" FirstC="0" PlaneCount="1"/><TiffData IFD="0" FirstC="1" PlaneCount="1">'
        f'<UUID FileName="{name}">urn:uuid:2</UUID></TiffData></Pixels></Image></OME>'
    )
    tifffile.imwrite(path, np.zeros((32, 32), np.uint8), description=xml, metadata=None)
    with pytest.raises(ImageError, match="another file"):
        open_image(path)


def test_renamed_file_that_names_itself_is_read(tmp_path: Path):
    xml = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:1">'
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="32" SizeY="32" SizeC="1"'
        ' SizeZ="1" SizeT="1"><TiffData IFD="0" PlaneCount="1"><UUID FileName="old.tif">urn:uuid:1</UUID></TiffData>'
        "</Pixels></Image></OME>"
    )
    pixels = picture(32, 32, 1)
    tifffile.imwrite(tmp_path / "new.tif", pixels[:, :, 0], description=xml, metadata=None)
    with open_image(tmp_path / "new.tif") as reader:
        assert reader.info.format == "OME-TIFF"
        assert_equal(read_all(reader), pixels)


@pytest.mark.parametrize(
    ("axes", "options", "what"),
    [
        ("TYX", {"imagej": True}, "4 time points"),
        ("ZYX", {"ome": True}, "4 focal planes"),
        ("QYX", {}, "4 pages"),
        ("IYX", {"metadata": None}, "4 pages"),
    ],
)
def test_several_images_in_one_are_refused(tmp_path: Path, axes: str, options: dict[str, Any], what: str):
    stack = np.zeros((4, 32, 48), np.uint8)
    options = {"metadata": {"axes": axes}, "photometric": "minisblack"} | options
    tifffile.imwrite(tmp_path / "image", stack, **options)
    with pytest.raises(ImageError, match=what):
        open_image(tmp_path / "image")


def test_complex_numbers_are_refused(tmp_path: Path):
    tifffile.imwrite(tmp_path / "image", np.zeros((8, 8), np.complex64))
    with pytest.raises(ImageError, match="complex64"):
        open_image(tmp_path / "image")


def test_flipped_header_bytes_never_escape_as_other_errors(tmp_path: Path):
    path = tmp_path / "image"
    VARIETIES["zstd_odd_tiles"](path)
    good = path.read_bytes()
    start = struct.unpack_from("<I", good, 4)[0]
    rng = np.random.default_rng(0)
    for _ in range(150):
        data = bytearray(good)
        data[int(rng.integers(start, start + 250))] = int(rng.integers(256))
        path.write_bytes(data)
        try:
            with open_image(path) as reader:
                reader.read(Window(0, 0, 300, 300))
        except ImageError:
            pass


def test_channel_without_a_page_is_an_error(tmp_path: Path):
    xml = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="32" SizeY="32" SizeC="3"'
        ' SizeZ="1" SizeT="1"><TiffData IFD="0" PlaneCount="2"/></Pixels></Image></OME>'
    )
    stack = np.ones((2, 32, 32), np.uint8)
    tifffile.imwrite(tmp_path / "image", stack, description=xml, metadata=None, photometric="minisblack")
    with pytest.raises(ImageError, match="lacks page 3 of 3"):
        open_image(tmp_path / "image")
