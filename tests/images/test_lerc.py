"""Headers of LERC pictures that its library wrote."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest

from fitcli.images.lerc import lerc_bytes


@pytest.mark.parametrize("version", [2, 3, 4, 5, 6, None])
@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8"])
def test_size(version: int | None, dtype: str) -> None:
    pixels = np.arange(37 * 61).reshape(37, 61).astype(dtype)
    assert lerc_bytes(imagecodecs.lerc_encode(pixels, version=version)) == pixels.nbytes


@pytest.mark.parametrize("planar", [False, True])
def test_channels(planar: bool) -> None:
    pixels = np.zeros((3, 37, 61) if planar else (37, 61, 3), np.uint16)
    assert lerc_bytes(imagecodecs.lerc_encode(pixels, planar=planar)) == pixels.nbytes


@pytest.mark.parametrize("data", [b"", b"Lerc2 ", b"CntZImage " + bytes(50), bytes(100), b"Lerc2 \1\0\0\0" + bytes(90)])
def test_damaged_headers(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"LERC|header is"):
        lerc_bytes(data)
