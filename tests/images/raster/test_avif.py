"""AVIF of 10 and 12 bits keeps them; 8 bits stay 8."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pytest

from fitcli.images.open import open_image
from fitcli.images.raster.avif import avif_bits
from fitcli.images.window import Window


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("bits", [8, 10, 12])
def test_the_depth_of_the_file(tmp_path: Path, bits: int, channels: int) -> None:
    rows = np.add.outer(np.arange(60), np.arange(80))[:, :, None] * np.arange(3, 3 + channels)
    pixels = (rows * 2 ** (bits - 8) % 2**bits).astype("u1" if bits == 8 else "u2")
    path = tmp_path / "x.avif"
    path.write_bytes(imagecodecs.avif_encode(pixels.squeeze(), level=100, bitspersample=bits, speed=9))
    assert avif_bits(path) == bits
    expected = imagecodecs.avif_decode(path.read_bytes())
    with open_image(path) as image:
        read = image.read(Window(0, 0, 60, 80))
        assert image.info.dtype == expected.dtype == pixels.dtype
        expected = expected[:, :, None] if expected.ndim == 2 else expected
        assert read.shape[2] in (1, 3, 4)
        np.testing.assert_array_equal(read, np.broadcast_to(expected[:, :, : read.shape[2]], read.shape))
        assert abs(read.astype(int)[:, :, :channels] - pixels[:, :, : read.shape[2]]).max() <= 2 ** (bits - 8)


def test_a_file_without_a_configuration(tmp_path: Path) -> None:
    for content in (b"", b"av1C", b"x" * 50 + b"av1C\x81"):
        (tmp_path / "x").write_bytes(content)
        assert avif_bits(tmp_path / "x") == 8
