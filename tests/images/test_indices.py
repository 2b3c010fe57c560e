"""Images read as the numbers that files store: indices of palettes, and grey that is neither scaled nor inverse."""

from __future__ import annotations

import pickle
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from support.reader_contract import assert_equal, read_all

from fitcli.images import limited_decoding
from fitcli.images.open import open_image
from fitcli.images.raster import reader
from fitcli.images.window import Window

SIZE = 37, 53
PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
"""First row and column of the pictures of an interlaced PNG, and the distances of their rows and columns."""

Samples = NDArray[np.uint8]


def samples(bits: int) -> Samples:
    return np.random.default_rng(bits).integers(0, 2**bits, SIZE, np.uint8)


def colors(bits: int) -> bytes:
    """No colour is its index, so that indices and colours differ."""
    return np.random.default_rng(9).permutation(256).astype(np.uint8)[: 2**bits].repeat(3).tobytes()


def packed(values: Samples, bits: int) -> bytes:
    single = np.unpackbits(values[..., None], axis=2)[..., 8 - bits :].reshape(len(values), -1)
    return np.pad(np.packbits(single, axis=1), ((0, 0), (1, 0))).tobytes()


def png(path: Path, bits: int, kind: int, interlaced: bool = False) -> None:
    values = samples(bits)
    parts = [values[top::down, left::across] for top, left, down, across in PASSES] if interlaced else [values]
    rows = b"".join(packed(part, bits) for part in parts if part.size)
    header = struct.pack(">IIBBBBB", SIZE[1], SIZE[0], bits, kind, 0, 0, interlaced)
    palette = [(b"PLTE", colors(bits))] if kind == 3 else []
    contents = [(b"IHDR", header), *palette, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in contents)
    )


def tiff(path: Path, bits: int, photometric: str = "palette", **options: object) -> None:
    colormap = np.frombuffer(colors(bits), np.uint8).reshape(-1, 3).T.astype(np.uint16) * 257
    more = {"colormap": colormap} if photometric == "palette" else {}
    tifffile.imwrite(path, samples(bits), photometric=photometric, **more, **options)


def packed_tiff(path: Path, bits: int) -> None:
    """A palette TIFF of less than a byte per pixel, which tifffile does not write."""
    data = b"".join(row[1:] for row in (packed(samples(bits)[n : n + 1], bits) for n in range(SIZE[0])))
    colormap = np.frombuffer(colors(bits), np.uint8).reshape(-1, 3).T.astype("<u2") * 257
    tags = [(256, 4, SIZE[1]), (257, 4, SIZE[0]), (258, 3, bits), (259, 3, 1), (262, 3, 3), (273, 4, 8), (277, 3, 1)]
    tags += [(278, 4, SIZE[0]), (279, 4, len(data))]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    start = 8 + len(data) + len(data) % 2
    after = start + 2 + 12 * (len(tags) + 1) + 4
    entries += struct.pack("<HHII", 320, 3, colormap.size, after)
    path.write_bytes(
        struct.pack("<2sHI", b"II", 42, start)
        + data.ljust(start - 8, b"\0")
        + struct.pack("<H", len(tags) + 1)
        + entries
        + bytes(4)
        + colormap.tobytes()
    )


def pillow(path: Path, name: str) -> None:
    image = Image.fromarray(samples(8), "P")
    image.putpalette(colors(8))
    image.save(path, name)


FILES: dict[str, tuple[int, Callable[[Path], None]]] = {
    **{
        f"PNG, {kind}, {bits} bits{', interlaced' if interlaced else ''}": (
            bits,
            lambda path, bits=bits, code=code, interlaced=interlaced: png(path, bits, code, interlaced),
        )
        for kind, code in (("palette", 3), ("grey", 0))
        for bits in (1, 2, 4, 8)
        for interlaced in (False, True)
    },
    "TIFF, strips": (8, lambda path: tiff(path, 8)),
    "TIFF, tiles": (8, lambda path: tiff(path, 8, tile=(16, 16), compression="deflate")),
    "TIFF, white is zero": (8, lambda path: tiff(path, 8, "miniswhite")),
    **{f"TIFF, {bits} bits": (bits, lambda path, bits=bits: packed_tiff(path, bits)) for bits in (1, 2, 4)},
    **{name: (8, lambda path, name=name: pillow(path, name)) for name in ("GIF", "BMP", "PCX", "TGA")},
}


@pytest.mark.parametrize("name", FILES)
def test_stored_numbers(tmp_path: Path, name: str) -> None:
    bits, write = FILES[name]
    write(tmp_path / "image")
    expected = samples(bits)[:, :, None]
    with open_image(tmp_path / "image", indices=True) as image:
        assert (image.info.channels, image.info.color) == (1, False)
        assert_equal(read_all(image).astype(np.uint8), expected)
        window = Window(5, 7, 11, 13)
        assert_equal(image.read(window).astype(np.uint8), expected[window.slices()])
        again = pickle.loads(pickle.dumps(image))
        assert_equal(read_all(again), read_all(image))
        again.close()
        if "grey" not in name and "zero" not in name:
            assert image.info.palette[: 2**bits] == tuple(map(tuple, np.frombuffer(colors(bits), "u1").reshape(-1, 3)))
        else:
            assert image.info.palette == ()


@pytest.mark.parametrize(
    "name", [name for name in FILES if "palette" in name or name in ("GIF", "BMP", "TIFF, 4 bits")]
)
def test_colours_are_read_otherwise(tmp_path: Path, name: str) -> None:
    bits, write = FILES[name]
    write(tmp_path / "image")
    expected = np.frombuffer(colors(bits), "u1").reshape(-1, 3)[samples(bits)]
    with open_image(tmp_path / "image") as image:
        assert image.info.palette == ()
        assert_equal(read_all(image), expected)


@pytest.mark.parametrize("name", ["GIF", "PNG, palette, 4 bits, interlaced"])
def test_in_a_process_with_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(reader, "SMALL_BYTES", 0)
    bits, write = FILES[name]
    write(tmp_path / "image")
    with open_image(tmp_path / "image", indices=True) as image:
        assert_equal(read_all(image), samples(bits)[:, :, None])
        assert len(image.info.palette) >= 2**bits
    limited_decoding.end_all()


@pytest.mark.parametrize("name", ["x.png", "x.tif"])
def test_colours_stay_colours(tmp_path: Path, name: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 8, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / name)
    with open_image(tmp_path / name, indices=True) as image:
        assert_equal(read_all(image), pixels)
