"""PNG read strip by strip equals the whole image by Pillow and imagecodecs."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from support.reader_contract import Case, ReaderContract, assert_equal, read_all

from fitcli.errors import ImageError
from fitcli.images.base import Pixels
from fitcli.images.open import open_image
from fitcli.images.raster import png, png_rows, reader
from fitcli.images.window import Window

HEIGHT, WIDTH = 103, 157


def waves(channels: int, dtype: str = "u1") -> Pixels:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    values = np.stack([np.sin(x / (7 + c)) * np.cos(y / (9 - c)) for c in range(channels)], -1)
    return ((values + 1) / 2 * np.iinfo(dtype).max).astype(dtype)


def part(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def file_of(
    size: tuple[int, int], bits: int, kind: int, rows: bytes, *more: tuple[bytes, bytes], interlaced: bool = False
) -> bytes:
    """Return a PNG of filtered rows, in small parts; `more` are parts in front of them."""
    stream = zlib.compress(rows)
    pieces = [(b"IDAT", stream[at : at + 100]) for at in range(0, len(stream), 100)]
    header = b"IHDR", struct.pack(">IIBBBBB", size[1], size[0], bits, kind, 0, 0, interlaced)
    parts = [header, *more, *pieces, (b"tEXt", b"Comment\0behind"), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(part(name, content) for name, content in parts)


def packed(bits: int) -> tuple[bytes, Pixels]:
    """Return unfiltered rows of samples smaller than a byte, and the samples."""
    samples = np.random.default_rng(bits).integers(0, 2**bits, (HEIGHT, WIDTH), np.uint8)
    single = np.unpackbits(samples[..., None], axis=2)[..., 8 - bits :].reshape(HEIGHT, -1)
    rows = np.packbits(single, axis=1)
    return np.pad(rows, ((0, 0), (1, 0))).tobytes(), samples


def by_pillow(data: bytes, mode: str) -> Pixels:
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert(mode))
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def saved(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


FILES: dict[str, Callable[[], tuple[bytes, Pixels]]] = {}
for _mode in ("1", "L", "LA", "RGB", "RGBA"):
    FILES[_mode] = lambda mode=_mode: (
        data := saved(Image.fromarray(waves(3)).convert(mode)),
        by_pillow(data, mode),
    )
for _channels in (1, 2, 3, 4):
    FILES[f"16 bits, {_channels} samples"] = lambda channels=_channels: (
        imagecodecs.png_encode(waves(channels, "u2").squeeze()),
        waves(channels, "u2"),
    )
for _bits in (1, 2, 4, 8):
    FILES[f"palette of {_bits} bits"] = lambda bits=_bits: (
        data := saved(Image.fromarray(waves(3)).quantize(2**bits), bits=bits),
        by_pillow(data, "RGB"),
    )
for _bits in (2, 4):
    FILES[f"grey of {_bits} bits"] = lambda bits=_bits: (
        file_of((HEIGHT, WIDTH), bits, 0, packed(bits)[0]),
        packed(bits)[1][:, :, None] * np.uint8(255 // (2**bits - 1)),
    )
FILES["palette with alpha"] = lambda: (
    data := saved(Image.fromarray(waves(3)).quantize(64), transparency=bytes(range(0, 120, 3))),
    by_pillow(data, "RGBA"),
)
FILES["palette without all its colours"] = lambda: (
    data := file_of((HEIGHT, WIDTH), 4, 3, packed(4)[0], (b"PLTE", bytes(range(30)))),
    by_pillow(data, "RGB"),
)


@pytest.fixture(autouse=True)
def small_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several rows per strip, several strips per waypoint, several waypoints per image."""
    monkeypatch.setattr(reader, "AT_ONCE_BYTES", 0)
    monkeypatch.setattr(png, "STRIP_BYTES", 5 * WIDTH)
    monkeypatch.setattr(png_rows, "WAYPOINT_BYTES", 4000)
    monkeypatch.setattr(png_rows, "PIECE_BYTES", 64)


@pytest.fixture(scope="module", params=["RGB", "16 bits, 3 samples", "palette with alpha", "1"])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    data, pixels = FILES[request.param]()
    path = tmp_path_factory.mktemp("png") / "image"
    path.write_bytes(data)
    return Case(path, [pixels])


class TestPng(ReaderContract):
    pass


@pytest.mark.parametrize("name", FILES)
def test_every_kind_of_pixel(tmp_path: Path, name: str):
    data, pixels = FILES[name]()
    (tmp_path / "image").write_bytes(data)
    with open_image(tmp_path / "image") as reader:
        assert_equal(read_all(reader), pixels)
        assert_equal(reader.read(Window(40, 20, 30, 60)), pixels[40:70, 20:80])


PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
"""The passes of Adam7: (first row, first column, step of rows, step of columns)."""


@pytest.mark.parametrize("channels", [1, 4])
def test_interlaced_files_are_read_in_one_piece(tmp_path: Path, channels: int):
    pixels = waves(channels)
    small = [pixels[top::down, left::right] for top, left, down, right in PASSES]
    rows = b"".join(b"\0" + row.tobytes() for part in small for row in part)
    data = file_of((HEIGHT, WIDTH), 8, {1: 0, 4: 6}[channels], rows, interlaced=True)
    assert_equal(by_pillow(data, {1: "L", 4: "RGBA"}[channels]), pixels)
    (tmp_path / "image").write_bytes(data)
    with open_image(tmp_path / "image") as reader:
        assert reader.info.chunk is None
        assert_equal(read_all(reader), pixels)


def test_strips_are_read_from_any_row(tmp_path: Path):
    data, pixels = FILES["RGB"]()
    (tmp_path / "image").write_bytes(data)
    with open_image(tmp_path / "image") as reader:
        assert reader.info.chunk == (1, WIDTH)
        for row in np.random.default_rng(0).permutation(HEIGHT)[:60]:
            reader._cache.clear()
            assert_equal(reader.read(Window(int(row), 3, 1, 50)), pixels[row : row + 1, 3:53])


def test_rows_above_damage_are_correct(tmp_path: Path):
    data, pixels = FILES["RGB"]()
    middle = data.index(b"IDAT") + 4 + len(data) // 2
    (tmp_path / "image").write_bytes(data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :])
    with open_image(tmp_path / "image") as reader:
        for _ in range(2):
            with pytest.raises(ImageError, match="damaged"):
                read_all(reader)
            assert_equal(reader.read(Window(0, 0, 9, WIDTH)), pixels[:9])


@pytest.mark.parametrize("keep", [0.01, 0.3, 0.7, 0.999])
def test_a_file_that_is_cut_off_is_an_error_at_opening(tmp_path: Path, keep: float):
    data, _ = FILES["16 bits, 3 samples"]()
    (tmp_path / "image").write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(ImageError, match="ends early"):
        open_image(tmp_path / "image")


def test_fewer_rows_than_claimed_are_an_error(tmp_path: Path):
    (tmp_path / "image").write_bytes(file_of((50, 40), 8, 0, bytes(30 * 41)))
    with open_image(tmp_path / "image") as reader:
        assert not reader.read(Window(0, 0, 9, 40)).any()
        with pytest.raises(ImageError, match="ends early"):
            read_all(reader)


@pytest.mark.parametrize(
    ("size", "bits", "kind"), [((0, 5), 8, 2), ((5, 5), 3, 2), ((5, 5), 4, 2), ((5, 5), 8, 5), ((5, 5), 8, 3)]
)
def test_invalid_headers(tmp_path: Path, size: tuple[int, int], bits: int, kind: int):
    (tmp_path / "image").write_bytes(file_of(size, bits, kind, bytes(100)))
    with pytest.raises(ImageError, match="is invalid"):
        open_image(tmp_path / "image")


def test_memory_is_bounded_by_the_strips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.undo()
    side = 5000
    stream = zlib.compressobj(1)
    data = b"".join(stream.compress(bytes(1 + 3 * side)) for _ in range(side)) + stream.flush()
    parts = (b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)), (b"IDAT", data), (b"IEND", b"")
    (tmp_path / "image").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(part(*one) for one in parts))
    with open_image(tmp_path / "image") as reader:
        tracemalloc.start()
        try:
            assert reader.read(Window(side - 9, 5, 9, 9)).shape == (9, 9, 3)
            assert tracemalloc.get_traced_memory()[1] < side * side * 3 / 3
        finally:
            tracemalloc.stop()
