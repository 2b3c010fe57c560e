"""Chunks of a level equal the segments that tifffile decodes, or parts of the whole image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from support.reader_contract import assert_equal, random_windows, read_all

from fitcli.errors import ImageError
from fitcli.images.byte_source import SourceFile
from fitcli.images.open import open_image
from fitcli.images.tiff.chunks import CompressedTiffGrid, Page, RawTiffGrid, TiffGrid, is_raw
from fitcli.images.window import Window
from tests.images.tiff.test_reader import RGB, VARIETIES, WIDTH, picture

RAW = ("raw_tiles", "raw_strips", "raw_one_strip", "big_endian_raw", "rgba_u16")


def grid_of(file: tifffile.TiffFile, path: Path) -> TiffGrid:
    page = file.pages.first
    pages = [Page(page.dataoffsets, page.databytecounts, page.jpegtables)]
    return (RawTiffGrid if is_raw(page) else CompressedTiffGrid)(SourceFile(path), page, pages)


@pytest.mark.parametrize(
    "name", ["lzw_predictor_tiles", "deflate_predictor_strips", "jpeg_ycbcr", "webp", "bool_tiles"]
)
def test_compressed_chunks_are_the_segments_of_tifffile(tmp_path: Path, name: str):
    VARIETIES[name](tmp_path / "image")
    with tifffile.TiffFile(tmp_path / "image") as file:
        grid = grid_of(file, tmp_path / "image")
        assert not grid.raw
        for segment, place, _ in file.pages.first.segments():
            row, column = place[-3] // grid.chunk[0], place[-2] // grid.chunk[1]
            for decode in (grid.decode, grid.decode_transient):
                pixels = decode((0, row, column))[: segment.shape[1], : segment.shape[2]]
                assert_equal(np.array(pixels), segment[0])


@pytest.mark.parametrize("name", RAW)
def test_parts_of_raw_chunks(tmp_path: Path, name: str):
    VARIETIES[name](tmp_path / "image")
    whole = tifffile.imread(tmp_path / "image")
    with tifffile.TiffFile(tmp_path / "image") as file:
        grid = grid_of(file, tmp_path / "image")
    assert grid.raw
    rows, columns = grid.chunk
    for part in random_windows(min(rows, grid.height), columns, count=20):
        part = part.clip(min(rows, grid.height), min(columns, grid.width))
        target = np.zeros((part.height, part.width, grid.channels), grid.dtype)
        grid.copy_part((0, 0, 0), part, target)
        np.testing.assert_array_equal(target, whole[part.slices()])


def test_raw_chunks_need_no_decoding(tmp_path: Path):
    for name in (*RAW, "lzw_predictor_tiles", "jpeg_grey", "bool", "packbits", "float_predictor"):
        VARIETIES[name](tmp_path / "image")
        with tifffile.TiffFile(tmp_path / "image") as file:
            assert is_raw(file.pages.first) is (name in RAW), name


def test_a_transient_chunk_is_valid_until_the_next(tmp_path: Path):
    VARIETIES["jpeg_ycbcr"](tmp_path / "image")
    with tifffile.TiffFile(tmp_path / "image") as file:
        grid = grid_of(file, tmp_path / "image")
    first = grid.decode_transient((0, 0, 0))
    assert np.shares_memory(first, grid.decode_transient((0, 0, 1)))
    assert not np.shares_memory(grid.decode((0, 0, 0)), grid.decode((0, 0, 0)))


@pytest.mark.parametrize(
    ("offsets", "counts", "match"),
    [
        ([0] * 3, [10] * 3, "lists 3 chunks, but its size needs 20"),
        ([-5] * 20, [10] * 20, "negative position"),
        ([0] * 19 + [10**6], [10] * 20, "bytes before its pixels do"),
        ([0] * 19 + [2**63 - 1], [10] * 20, "bytes before its pixels do"),
    ],
)
def test_forged_positions_are_refused(tmp_path: Path, offsets: list[int], counts: list[int], match: str):
    VARIETIES["jpeg_ycbcr"](tmp_path / "image")
    with tifffile.TiffFile(tmp_path / "image") as file, pytest.raises(ImageError, match=match):
        CompressedTiffGrid(SourceFile(tmp_path / "image"), file.pages.first, [Page(offsets, counts, None)])


def test_nodata_fills_what_is_not_stored(tmp_path: Path):
    path = tmp_path / "image.tif"
    tiles = iter([np.ones((64, 64), np.uint8), None])
    nodata = (42113, "s", 0, "7", True)
    tifffile.imwrite(path, tiles, shape=(64, 128), dtype="u1", tile=(64, 64), extratags=[nodata], compression="zstd")
    with open_image(path) as reader:
        assert reader.info.nodata == 7
        assert reader.read(Window(0, 60, 1, 8))[0, :, 0].tolist() == [1] * 4 + [7] * 4


def test_declared_strips_are_reported_where_they_are_read_as_one(tmp_path: Path):
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, picture(), rowsperstrip=7, **RGB)
    with open_image(path) as reader:
        assert reader.info.chunk == (7, WIDTH)


def test_strips_with_gaps_are_read_one_by_one(tmp_path: Path):
    path, pixels = tmp_path / "image.tif", picture(60, 50, 1)
    tifffile.imwrite(path, pixels[:, :, 0], rowsperstrip=10)
    with tifffile.TiffFile(path, mode="r+b") as file:
        page = file.pages[0]
        offsets = page.dataoffsets
        file.filehandle.seek(0, 2)
        end = file.filehandle.tell()
        file.filehandle.write(pixels[20:30].tobytes())  # the third strip moves to the end
        page.tags["StripOffsets"].overwrite((*offsets[:2], end, *offsets[3:]))
        file.filehandle.seek(offsets[2])
        file.filehandle.write(bytes(500))
    with open_image(path) as reader:
        assert_equal(read_all(reader), pixels)


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("predictor", [False, True])
@pytest.mark.parametrize("compression", ["deflate", "zstd", "lzw", "packbits", "lzma", None])
def test_a_last_strip_may_store_rows_below_the_image(
    tmp_path: Path, compression: str | None, predictor: bool, planar: str
):
    """As GDAL and Pillow read it. Some writers fill up the last strip."""
    if predictor and compression in ("packbits", None):
        pytest.skip("these have no predictor")
    pixels = np.random.default_rng(0).integers(0, 255, (48, 40, 3)).astype(np.uint8)
    stored = pixels if planar == "contig" else pixels.transpose(2, 0, 1)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, stored, photometric="rgb", planarconfig=planar, rowsperstrip=16, compression=compression,
                     predictor=predictor, metadata=None)  # fmt: skip
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags["ImageLength"].overwrite(37)
    with open_image(path) as image:
        np.testing.assert_array_equal(image.read(Window(0, 0, 37, 40)), pixels[:37])
        np.testing.assert_array_equal(image.read(Window(33, 5, 3, 7)), pixels[33:36, 5:12])
