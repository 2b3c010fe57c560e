"""Strips of rows equal those of the slow obvious way to undo the filters."""

from __future__ import annotations

import os
import random
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from fitcli.images.png_header import SIGNATURE, read_header
from fitcli.images.raster import png_rows
from fitcli.images.raster.png_rows import PngRows
from tests.images.raster.test_png import file_of

HEIGHT, WIDTH, STRIP = 41, 13, 3

KINDS = {(8, 0): 1, (8, 4): 2, (8, 2): 3, (8, 6): 4, (16, 0): 2, (16, 4): 4, (16, 2): 6, (16, 6): 8, (4, 0): 1}
"""Bytes per pixel by (bits, colour type)."""


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several reads per strip, several strips per waypoint, several waypoints per file."""
    monkeypatch.setattr(png_rows, "WAYPOINT_BYTES", 200)
    monkeypatch.setattr(png_rows, "PIECE_BYTES", 50)


def paeth(left: int, up: int, corner: int) -> int:
    distances = [abs(left + up - corner - other) for other in (left, up, corner)]
    return (left, up, corner)[distances.index(min(distances))]


def unfiltered(rows: np.ndarray, filters: np.ndarray, pixel: int) -> np.ndarray:
    """Undo the filters byte by byte (W3C PNG, third edition, section 9.2)."""
    result = np.zeros((len(rows) + 1, rows.shape[1] + pixel), int)
    for row, column in np.ndindex(*rows.shape):
        left, up, corner = result[row + 1, column], result[row, column + pixel], result[row, column]
        prediction = (0, left, up, (left + up) // 2, paeth(left, up, corner))[filters[row]]
        result[row + 1, column + pixel] = (int(rows[row, column]) + prediction) % 256
    return result[1:, pixel:].astype(np.uint8)


def make(bits: int, kind: int, path: Path) -> tuple[PngRows, np.ndarray]:
    """Write a file of random bytes in all filters; return its reader, and its rows."""
    pixel = KINDS[bits, kind]
    row_bytes = -(-WIDTH * bits // 8) if bits < 8 else WIDTH * pixel
    rng = np.random.default_rng(0)
    rows, filters = rng.integers(0, 256, (HEIGHT, row_bytes), np.uint8), rng.integers(0, 5, HEIGHT).astype(np.uint8)
    path.write_bytes(file_of((HEIGHT, WIDTH), bits, kind, np.hstack([filters[:, None], rows]).tobytes()))
    with path.open("rb") as file:
        return PngRows(path, read_header(file), STRIP), unfiltered(rows, filters, pixel)


@pytest.mark.parametrize(("bits", "kind"), KINDS)
def test_every_kind_of_pixel_in_any_order(tmp_path: Path, bits: int, kind: int) -> None:
    rows, expected = make(bits, kind, tmp_path / "image")
    strips = list(range(-(-HEIGHT // STRIP)))
    for order in (strips, strips[::-1], random.Random(0).sample(strips, len(strips))):
        for number in order:
            np.testing.assert_array_equal(rows.read(number), expected[number * STRIP : (number + 1) * STRIP])


def test_threads_and_forks(tmp_path: Path) -> None:
    rows, expected = make(8, 2, tmp_path / "image")
    strips = [random.Random(0).randrange(14) for _ in range(50)]
    with ThreadPoolExecutor(8) as pool:
        for number, strip in zip(strips, pool.map(rows.read, strips), strict=True):
            np.testing.assert_array_equal(strip, expected[number * STRIP : (number + 1) * STRIP])
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = int(not np.array_equal(rows.read(5), expected[5 * STRIP : 6 * STRIP]))
        finally:
            os._exit(status)
    np.testing.assert_array_equal(rows.read(7), expected[7 * STRIP : 8 * STRIP])
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_earlier_rows_are_read_from_the_nearest_waypoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, _ = make(8, 2, tmp_path / "image")
    rows.read(13)
    assert len(rows._waypoints) > 5
    decoded: list[int] = []
    undo = png_rows._without_filters
    monkeypatch.setattr(png_rows, "_without_filters", lambda *arguments: decoded.append(1) or undo(*arguments))
    rows.read(12)
    assert len(decoded) <= 2


@pytest.mark.parametrize("damage", ["data", "checksum of the part", "checksum of the stream", "too few rows"])
def test_damage_is_an_error_where_it_is(tmp_path: Path, damage: str) -> None:
    make(8, 2, tmp_path / "image")
    data = bytearray((tmp_path / "image").read_bytes())
    at = data.index(b"IDAT", data.index(b"IDAT") + 1200)  # the start of a part further down
    if damage == "data":
        data[at + 30] ^= 0xFF
    elif damage == "checksum of the part":
        data[at - 5] ^= 1
    elif damage == "too few rows":
        data[20:24] = struct.pack(">I", HEIGHT + 5)
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    else:
        end = data.rindex(b"IDAT")
        (length,) = struct.unpack_from(">I", data, end - 4)
        data[end + 4 + length - 1] ^= 1
        data[end + 4 + length : end + 8 + length] = struct.pack(">I", zlib.crc32(data[end : end + 4 + length]))
    assert data.startswith(SIGNATURE)
    (tmp_path / "image").write_bytes(data)
    with (tmp_path / "image").open("rb") as file:
        rows = PngRows(tmp_path / "image", read_header(file), STRIP)
    for _ in range(2):
        assert rows.read(0).shape == (STRIP, 39)
        with pytest.raises(ValueError, match=r"checksum|Error|early"):
            rows.read(rows._header.height // STRIP)
