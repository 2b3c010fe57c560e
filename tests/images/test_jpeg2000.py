"""Headers of JPEG 2000 that OpenJPEG wrote, and headers that claim too much."""

from __future__ import annotations

import io

import imagecodecs
import numpy as np
import pytest
from bombs import jpeg2000
from PIL import Image

from fitcli.images.jpeg2000 import read_codestream


@pytest.mark.parametrize("form", ["j2k", "jp2"])
@pytest.mark.parametrize(("shape", "dtype"), [((37, 61, 3), "u1"), ((512, 300), "u2"), ((64, 64, 4), "u1")])
def test_size(form: str, shape: tuple[int, ...], dtype: str) -> None:
    stream = read_codestream(imagecodecs.jpeg2k_encode(np.zeros(shape, dtype), codecformat=form))
    assert (stream.height, stream.width, stream.components) == (*shape[:2], (*shape, 1)[2])
    assert stream.bits == 8 * np.dtype(dtype).itemsize


@pytest.mark.parametrize(
    "options", [{}, {"tile_size": (256, 256)}, {"precinct_size": (128, 128)}, {"quality_layers": [40, 10, 2]}]
)
def test_usual_pictures_cost_little(options: dict[str, object]) -> None:
    file = io.BytesIO()
    Image.fromarray(np.zeros((2000, 2000, 3), np.uint8)).save(file, "JPEG2000", **options)
    assert read_codestream(file.getvalue()).overhead_bytes < 6 * 2000 * 2000


@pytest.mark.parametrize(
    "options",
    [
        {"precincts": True},
        {"block": 0, "side": 8000},
        {"layers": 65_535, "levels": 5, "precincts": True},
        {"tile": 17},
        {"components": 16_384},
    ],
)
def test_parts_without_number_cost_much(options: dict[str, int]) -> None:
    assert read_codestream(jpeg2000(**({"side": 4096} | options))).overhead_bytes > 300 << 20


def test_a_style_of_a_tile_counts() -> None:
    plain, forged = jpeg2000(4096), jpeg2000(4096, precincts=True)
    style = forged[forged.index(b"\xff\x52") :][
        : 2 + int.from_bytes(forged[forged.index(b"\xff\x52") + 2 :][:2], "big")
    ]
    at = plain.index(b"\xff\x93")
    data = plain[: at - 6] + (20 + len(style) + 2).to_bytes(4, "big") + plain[at - 2 : at] + style + plain[at:]
    assert read_codestream(data).overhead_bytes > 300 << 20 > read_codestream(plain).overhead_bytes


@pytest.mark.parametrize("data", [b"", b"\xff\x4f\xff\x51", jpeg2000()[:30], b"\0\0\0\x0cjP  \r\n\x87\n", bytes(100)])
def test_damaged_headers(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"header is|codestream"):
        read_codestream(data)
