"""LZW data of other writers are valid to the end; damaged data end where the damage begins, and decode safely."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image
from support.reader_contract import assert_equal, read_all

from fitcli.errors import ImageError
from fitcli.images.open import open_image
from fitcli.images.tiff.lzw import valid_lzw

GENERATOR = np.random.default_rng(0)
CONTENTS = {
    "noise": GENERATOR.integers(0, 256, 70_000, np.uint8).tobytes(),
    "constant": bytes(200_000),
    "three values": GENERATOR.integers(0, 3, 100_000).astype(np.uint8).tobytes(),
    "ramp": bytes(range(251)) * 300,
    "one byte": b"x",
    "nothing": b"",
}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_valid_data(content: bytes) -> None:
    data = bytes(imagecodecs.lzw_encode(content))
    assert valid_lzw(data) == data
    assert valid_lzw(data + b"garbage") == data or not content
    assert imagecodecs.lzw_decode(valid_lzw(data), out=len(content)) == content or not content


@pytest.mark.parametrize("content", list(CONTENTS.values())[:4], ids=list(CONTENTS)[:4])
def test_damaged_data_decode_to_the_same_as_far_as_they_are_valid(content: bytes) -> None:
    data = bytes(imagecodecs.lzw_encode(content))
    whole = True
    for _ in range(200):
        damaged = bytearray(data)
        at = int(GENERATOR.integers(2, len(data)))
        damaged[at : at + 4] = GENERATOR.bytes(4)
        valid = valid_lzw(bytes(damaged))
        assert bytes(damaged).startswith(valid)
        assert len(valid) >= at - 3
        whole = whole and len(valid) == len(damaged)
    assert not whole, "some damage is found"


@pytest.mark.parametrize("keep", [0, 1, 2, 10, 1000])
def test_data_that_are_cut_off(keep: int) -> None:
    data = bytes(imagecodecs.lzw_encode(CONTENTS["noise"]))[:keep]
    assert data.startswith(valid_lzw(data))
    assert len(valid_lzw(data)) >= keep - 1


@pytest.mark.parametrize("options", [{"rowsperstrip": 7}, {"tile": (32, 32)}, {"predictor": 2}, {"fillorder": 2}])
def test_files(tmp_path: Path, options: dict[str, object]) -> None:
    pixels = GENERATOR.integers(0, 256, (70, 90, 3), np.uint8)
    reverse = options.pop("fillorder", None) if "fillorder" in options else None
    tifffile.imwrite(tmp_path / "image", pixels, compression="lzw", photometric="rgb", **options)
    if reverse:
        _reverse(tmp_path / "image")
    with open_image(tmp_path / "image") as reader:
        assert_equal(read_all(reader), pixels)


def _reverse(path: Path) -> None:
    """Turn the bits of the chunks, and say so in the Software tag, which becomes FillOrder."""
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        places, tag = list(zip(page.dataoffsets, page.databytecounts, strict=True)), page.tags["Software"]
        order = file.byteorder
    data = bytearray(path.read_bytes())
    for offset, count in places:
        data[offset : offset + count] = imagecodecs.bitorder_decode(bytes(data[offset : offset + count]))
    value = (266).to_bytes(2, "little") + (3).to_bytes(2, "little") + (1).to_bytes(4, "little") + b"\2\0\0\0"
    assert order == "<"
    data[tag.offset : tag.offset + 12] = value
    path.write_bytes(data)


def test_files_of_libtiff(tmp_path: Path) -> None:
    pixels = GENERATOR.integers(0, 30, (300, 200), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image", "TIFF", compression="tiff_lzw")
    with open_image(tmp_path / "image") as reader:
        assert_equal(read_all(reader)[:, :, 0], pixels)


def test_codes_that_are_not_in_the_table_are_an_error(tmp_path: Path) -> None:
    pixels = GENERATOR.integers(0, 256, (64, 64), np.uint8)
    tifffile.imwrite(tmp_path / "image", pixels, compression="lzw")
    data = bytearray((tmp_path / "image").read_bytes())
    with tifffile.TiffFile(tmp_path / "image") as file:
        at = file.pages[0].dataoffsets[0] + 2000
    data[at : at + 20] = b"\xff" * 20
    (tmp_path / "image").write_bytes(data)
    with pytest.raises(ImageError, match="cannot be decoded"), open_image(tmp_path / "image") as reader:
        read_all(reader)
