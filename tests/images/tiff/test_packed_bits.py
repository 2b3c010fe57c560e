"""Samples that are not whole bytes are those that tifffile reads."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from bombs import tiff
from support.reader_contract import assert_equal, read_all

from fitcli.images.open import open_image

PACKERS = {1: bytes, 5: imagecodecs.lzw_encode, 8: zlib.compress, 32773: imagecodecs.packbits_encode}
PACKERS |= {34925: imagecodecs.lzma_encode, 50000: imagecodecs.zstd_encode}


@pytest.mark.parametrize("code", PACKERS)
@pytest.mark.parametrize("bits", [1, 2, 4, 10, 12])
def test_values(tmp_path: Path, bits: int, code: int) -> None:
    side = 37
    packed = np.random.default_rng(0).integers(0, 256, (side, -(-side * bits // 8)), np.uint8).tobytes()
    (tmp_path / "image").write_bytes(tiff(PACKERS[code](packed), code, side=side, bits=bits))
    with open_image(tmp_path / "image") as reader:
        assert_equal(read_all(reader)[:, :, 0], tifffile.imread(tmp_path / "image"))


@pytest.mark.parametrize("compression", ["deflate", "packbits", None])
@pytest.mark.parametrize("options", [{"rowsperstrip": 16}, {"tile": (32, 32)}])
def test_masks_in_chunks(tmp_path: Path, compression: str | None, options: dict[str, object]) -> None:
    mask = np.random.default_rng(0).integers(0, 2, (70, 90), np.uint8) > 0
    tifffile.imwrite(tmp_path / "image", mask, compression=compression, **options)
    with open_image(tmp_path / "image") as reader:
        assert reader.info.dtype == np.bool_
        assert_equal(read_all(reader)[:, :, 0], mask)


def test_reversed_bits(tmp_path: Path) -> None:
    packed = np.random.default_rng(0).integers(0, 256, (32, 4), np.uint8).tobytes()
    data = bytearray(tiff(packed, 1, bits=1))
    (at,) = struct.unpack_from("<I", data, 4)
    entry = data.index(struct.pack("<HH", 262, 3), at)  # the order of tags does not matter to readers
    data[entry : entry + 12] = struct.pack("<HHII", 266, 3, 1, 2)
    (tmp_path / "image").write_bytes(data)
    with open_image(tmp_path / "image") as reader:
        assert_equal(read_all(reader)[:, :, 0], tifffile.imread(tmp_path / "image"))
