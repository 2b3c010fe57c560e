"""Writes slide-like test images in bounded memory, and lists the byte ranges of their chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

CHUNK = 512
WINDOW = 1024
SHARD_SIDE = 8


def slide_window(seed: int, side: int = WINDOW) -> np.ndarray:
    """Return pixels [side side 3] like a stained slide: smooth noise of seven scales in two dyes, and sensor noise."""
    random = np.random.default_rng(seed)
    dyes = np.zeros((2, side, side))
    for octave in range(7):
        spacing = 4 * 2**octave
        knots = np.arange(side) / spacing
        lattice = random.normal(size=(2, side // spacing + 2, side // spacing + 2))
        weights = np.maximum(0, 1 - np.abs(knots[:, None] - np.arange(lattice.shape[1])))
        dyes += weights @ lattice @ weights.T * 0.5 ** (6 - octave) ** 0.6
    dyes = np.maximum(dyes * 0.3 + 0.3, 0)
    absorption = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])
    light = 245 * np.exp(-np.einsum("dyx,dc->yxc", dyes, absorption))
    pixels: np.ndarray = (light + random.normal(size=light.shape) * 3).clip(0, 255).astype(np.uint8)
    return pixels


def windows(size: int, most: int | None = None) -> Iterator[Any]:
    """Return aligned windows of a square image, row by row: all, or the first `most`."""
    from fitcli.images.window import Window

    starts = range(0, size, WINDOW)
    places = [(top, left) for top in starts for left in starts][:most]
    return (Window(top, left, WINDOW, WINDOW).clip(size, size) for top, left in places)


def write_image(path: Path, size: int, compression: str, variants: list[np.ndarray], levels: Any = "auto") -> None:
    """Write a colour image of `size` x `size` pixels that repeats a few windows."""
    from fitcli.images.base import ImageInfo
    from fitcli.images.open import create_image

    info = ImageInfo(height=size, width=size, channels=3, dtype=np.dtype(np.uint8), color=True, mpp=0.25)
    with create_image(path, info, compression=compression, levels=levels, chunk=CHUNK) as image:  # type: ignore[arg-type]
        for number, window in enumerate(windows(size)):
            image.write(window, variants[number % len(variants)][: window.height, : window.width])


def write_unsharded_zarr(path: Path, size: int, variants: list[np.ndarray]) -> None:
    """Write the same image with zarr-python, one file per chunk."""
    import zarr
    from zarr.codecs import ZstdCodec

    array = zarr.create_array(
        path,
        shape=(3, size, size),
        chunks=(3, CHUNK, CHUNK),
        dtype="uint8",
        compressors=ZstdCodec(level=1),
        dimension_names=("c", "y", "x"),
        config={"write_empty_chunks": True},
    )
    for number, window in enumerate(windows(size)):
        rows, columns = window.slices()
        pixels = variants[number % len(variants)][: window.height, : window.width]
        array[:, rows, columns] = pixels.transpose(2, 0, 1)


@dataclass
class Source:
    """An image on disk, and what a bare loop over its chunks needs.

    Attributes:
        name: One of SOURCES.
        path: File or folder of the image.
        places: (file, offset, bytes) of each level-0 chunk, by its (row, column).
        decode: The bare codec: decodes the bytes of one chunk.
    """

    name: str
    path: Path
    places: dict[tuple[int, int], tuple[Path, int, int]]
    decode: Callable[[bytes], Any]


def tiff_source(name: str, path: Path, compression: str) -> Source:
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        columns = -(-page.imagewidth // CHUNK)
        places = {
            divmod(number, columns): (path, offset, count)
            for number, (offset, count) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=True))
        }
    return Source(name, path, places, tiff_decoder(compression))


def tiff_decoder(compression: str) -> Callable[[bytes], Any]:
    import imagecodecs

    shape = (CHUNK, CHUNK, 3)
    buffer = np.empty(shape, np.uint8)
    if compression == "jpeg":
        return lambda data: imagecodecs.jpeg8_decode(data, colorspace="ycbcr", outcolorspace="rgb")
    if compression == "none":
        return lambda data: np.frombuffer(data, np.uint8).reshape(shape)
    unpack = imagecodecs.deflate_decode if compression == "deflate" else imagecodecs.zstd_decode

    def decode(data: bytes) -> Any:
        unpack(data, out=buffer.reshape(-1))  # type: ignore[arg-type]
        return imagecodecs.delta_decode(buffer, axis=-2, out=buffer)

    return decode


def zarr_source(name: str, path: Path, size: int, sharded: bool) -> Source:
    import imagecodecs

    side = -(-size // CHUNK)
    places = {}
    for row, column in np.ndindex(side, side):
        if sharded:
            file = path / "0" / "c" / "0" / str(row // SHARD_SIDE) / str(column // SHARD_SIDE)
            index = np.frombuffer(file.read_bytes()[-(SHARD_SIDE**2) * 16 - 4 : -4], "<u8").reshape(SHARD_SIDE, -1, 2)
            offset, count = index[row % SHARD_SIDE, column % SHARD_SIDE].tolist()
        else:
            file = path / "c" / "0" / str(row) / str(column)
            offset, count = 0, file.stat().st_size
        places[row, column] = file, offset, count
    buffer = np.empty(3 * CHUNK * CHUNK, np.uint8)

    def decode(data: bytes) -> Any:
        return imagecodecs.zstd_decode(data, out=buffer)  # type: ignore[arg-type]

    return Source(name, path, places, decode)


SOURCES = ("TIFF jpeg", "TIFF deflate", "TIFF zstd", "TIFF none", "Zarr zstd", "Zarr zstd, sharded")


def make_source(name: str, folder: Path, size: int) -> Source:
    """Write one of SOURCES with `size` x `size` pixels to a folder."""
    variants = [slide_window(seed) for seed in range(8)]
    if name == "Zarr zstd":
        write_unsharded_zarr(folder / "read.zarr", size, variants)
        return zarr_source(name, folder / "read.zarr", size, sharded=False)
    if name == "Zarr zstd, sharded":
        write_image(folder / "read.zarr", size, "zstd", variants, levels=1)
        return zarr_source(name, folder / "read.zarr", size, sharded=True)
    compression = name.removeprefix("TIFF ")
    write_image(folder / "read.tif", size, compression, variants, levels=1)
    return tiff_source(name, folder / "read.tif", compression)
