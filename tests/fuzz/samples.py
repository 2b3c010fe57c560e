"""Writes small images of every format and codec that fit reads, with other libraries and with fit itself."""

from __future__ import annotations

import importlib.util
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numcodecs
import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray
from PIL import Image, features
from zarr import codecs

from fitcli.images.base import ImageInfo
from fitcli.images.open import create_image
from fitcli.images.window import Window

HEIGHT, WIDTH = 70, 90

Pixels = NDArray[Any]
Write = Callable[[Path], object]

SAMPLES: dict[str, Write] = {}
"""Writer per name of a sample; it writes a file or, for zarr, a folder."""


def picture(channels: int = 3, dtype: str = "u1") -> Pixels:
    """Return pixels [height, width, channels], smooth with some noise."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    waves = np.stack([np.sin(x / (7 + c)) * np.cos(y / (9 - c % 5)) for c in range(channels)], -1)
    scaled = (waves + 1) / 2.1 + np.random.default_rng(0).uniform(0, 0.04, waves.shape)
    kind = np.dtype(dtype)
    return scaled.astype(kind) if kind.kind == "f" else (scaled * np.iinfo(kind).max * 0.9).astype(kind)


def _tiff(name: str, pixels: Pixels, **options: Any) -> None:
    SAMPLES[f"tiff-{name}"] = lambda path: tifffile.imwrite(path, np.squeeze(pixels), **options)


def _tiffs() -> None:
    color, small = {"photometric": "rgb"}, {"tile": (32, 32)}
    for codec in ("deflate", "lzw", "zstd", "lzma", "jpeg", "jpeg2000", "webp", "jpegxl"):
        _tiff(f"tiles-{codec}", picture(), compression=codec, **small, **color)
    for codec in ("lerc", "png", "jpegxr"):
        _tiff(f"tiles-{codec}", picture(1), compression=codec, **small)
    _tiff("bits-lzw", picture(1) > 99, compression="lzw", **small)
    for codec in ("deflate", "lzw", "packbits", "zstd", "jpeg"):
        _tiff(f"strips-{codec}", picture(), compression=codec, rowsperstrip=16, **color)
    _tiff("tiles-raw", picture(), **small, **color)
    _tiff("strips-raw", picture(), rowsperstrip=9, **color)
    _tiff("predictor", picture(dtype="u2"), compression="deflate", predictor=2, **small, **color)
    _tiff("float-predictor", picture(1, "f4"), compression="zstd", predictor=3, **small)
    _tiff("big-endian", picture(dtype="u2"), byteorder=">", compression="lzw", **small, **color)
    _tiff("bigtiff", picture(), bigtiff=True, compression="deflate", **small, **color)
    _tiff("bits", picture(1) > 99, compression="deflate")
    _tiff("planes", picture().transpose(2, 0, 1), planarconfig="separate", compression="zstd", **small, **color)
    _tiff("imagej", picture(4, "u2").transpose(2, 0, 1), imagej=True, metadata={"axes": "CYX"})
    _tiff("ome-channels", picture(4, "u2").transpose(2, 0, 1), ome=True, metadata={"axes": "CYX"}, **small)
    colors = np.random.default_rng(0).integers(0, 2**16, (3, 256), np.uint16)
    _tiff("palette", picture(1), photometric="palette", colormap=colors, compression="lzw")
    _tiff("ink", picture(4), photometric="separated", compression="deflate")

    def pyramid(path: Path, **options: Any) -> None:
        with tifffile.TiffWriter(path, **options) as file:
            file.write(picture(), subifds=2 if options else 0, compression="jpeg", **small, **color)
            for step in (2, 4):
                file.write(picture()[::step, ::step], subfiletype=1, compression="jpeg", **small, **color)

    SAMPLES["tiff-pyramid"] = pyramid
    SAMPLES["tiff-ome-pyramid"] = lambda path: pyramid(path, ome=True)

    def slide(path: Path) -> None:
        text = "Aperio Image Library v1\r\n90x70 [0,0 90x70] (32x32) JPEG/RGB Q=70|AppMag = 20|MPP = 0.5"
        with tifffile.TiffWriter(path) as file:
            file.write(picture(), compression="jpeg", description=text, metadata=None, **small, **color)
            file.write(picture()[::4, ::4], description="thumbnail", metadata=None, compression="jpeg", **color)
            file.write(picture()[::2, ::2], compression="jpeg", description=text, metadata=None, **small, **color)

    SAMPLES["tiff-slide"] = slide


def _zarr(name: str, pixels: Pixels, **options: Any) -> None:
    def write(path: Path) -> None:
        array = zarr.create_array(str(path), shape=pixels.shape, dtype=pixels.dtype, **options)
        array[...] = pixels

    SAMPLES[f"zarr-{name}"] = write


def _zarrs() -> None:
    planar, chunks = picture().transpose(2, 0, 1), {"chunks": (3, 32, 32)}
    for name, compressor in {
        "zstd": codecs.ZstdCodec(checksum=True),
        "gzip": codecs.GzipCodec(),
        "blosc": codecs.BloscCodec(cname="lz4"),
        "raw": None,
    }.items():
        _zarr(f"3-{name}", planar, compressors=compressor, **chunks)
    for name, compressor in {
        "zstd": numcodecs.Zstd(),
        "blosc": numcodecs.Blosc(cname="zstd"),
        "zlib": numcodecs.Zlib(),
        "lz4": numcodecs.LZ4(),
        "bz2": numcodecs.BZ2(),
        "lzma": numcodecs.LZMA(),
    }.items():
        _zarr(f"2-{name}", planar, compressors=compressor, zarr_format=2, **chunks)
    _zarr("2-delta", picture(1, "u2"), filters=[numcodecs.Delta(dtype="u2")], zarr_format=2, chunks=(32, 32, 1))
    scale = numcodecs.FixedScaleOffset(0, 1, "<u2", "<u2")
    chain = [numcodecs.Delta(dtype="u2"), scale, numcodecs.AsType("<u4", "<u2"), numcodecs.Shuffle(4)]
    _zarr("2-filters", picture(1, "u2"), filters=chain, zarr_format=2, chunks=(32, 32, 1))
    _zarr("3-sharded", planar, shards=(3, 64, 64), **chunks)
    _zarr("3-transposed", planar, filters=codecs.TransposeCodec(order=(1, 2, 0)), **chunks)

    def ome(path: Path) -> None:
        group = zarr.create_group(str(path), zarr_format=2)
        axes = [{"name": n, "type": "channel" if n == "c" else "space"} for n in "cyx"]
        datasets = []
        for level, step in enumerate((1, 2)):
            array = group.create_array(
                str(level), shape=planar[:, ::step, ::step].shape, dtype="u1", chunk_key_encoding=nested, **chunks
            )
            array[...] = planar[:, ::step, ::step]
            scale = [1, 0.5 * step, 0.5 * step]
            datasets.append({"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": scale}]})
        group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]

    nested = {"name": "v2", "separator": "/"}
    SAMPLES["zarr-ome-0.4"] = ome


def _rasters() -> None:
    kinds = {
        "png": ("PNG", picture(), {}),
        "png-16": ("PNG", picture(1, "u2"), {}),
        "png-alpha": ("PNG", picture(4), {}),
        "jpeg": ("JPEG", picture(), {}),
        "jpeg-progressive": ("JPEG", picture(), {"progressive": True}),
        "webp": ("WEBP", picture(), {"lossless": True}),
        "bmp": ("BMP", picture(), {}),
        "gif": ("GIF", picture(1), {}),
        "ppm": ("PPM", picture(), {}),
        "jpeg2000": ("JPEG2000", picture(), {}),
        "pcx": ("PCX", picture(), {}),
        "sgi": ("SGI", picture(), {}),
        "qoi": ("QOI", picture(), {}),
        "pbm": ("PPM", picture(1) > 99, {}),
        "tga": ("TGA", picture(), {"compression": "tga_rle"}),
    }
    if features.check("avif"):
        kinds["avif"] = ("AVIF", picture(), {})
    for name, (kind, pixels, options) in kinds.items():

        def write(path: Path, kind: str = kind, pixels: Pixels = pixels, options: dict[str, Any] = options) -> None:
            Image.fromarray(np.squeeze(pixels)).save(path, kind, **options)

        SAMPLES[name] = write
    raw = picture(3, "u2") >> 4
    header = b"P6\n# twelve bits\n%d %d\n4095\n" % (WIDTH, HEIGHT)
    SAMPLES["ppm-12"] = lambda path: path.write_bytes(header + raw.astype(">u2").tobytes())
    SAMPLES["jpeg-12"] = lambda path: path.write_bytes(
        imagecodecs.jpeg8_encode(picture(1, "u2")[:, :, 0] >> 4, level=90, bitspersample=12)
    )
    SAMPLES["png-palette"] = lambda path: Image.fromarray(picture()).quantize(16).save(path, "PNG")
    SAMPLES["jpeg-ink"] = lambda path: Image.fromarray(picture()).convert("CMYK").save(path, "JPEG")


def _features() -> None:
    """Write files of features; HDF5 only where it can be read."""
    SAMPLES["npy-features"] = lambda path: path.write_bytes(npy(picture(8, "f4")))
    if importlib.util.find_spec("h5py") is None:
        return

    def write(path: Path) -> None:
        import h5py

        row, column = np.mgrid[0:HEIGHT, 0:WIDTH]
        with h5py.File(path, "w") as file:
            file.create_dataset("features", data=picture(8, "f4").reshape(-1, 8), chunks=(64, 8), compression="gzip")
            coordinates = np.stack([column.ravel(), row.ravel()], axis=1) * 512
            file.create_dataset("coords", data=coordinates).attrs["patch_size_level0"] = 512

    SAMPLES["h5-features"] = write


def npy(array: Pixels) -> bytes:
    """Return a file of numpy."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _ours() -> None:
    for suffix in (".tif", ".ome.tif", ".zarr", ".png", ".jpg"):

        def write(path: Path, suffix: str = suffix) -> None:
            named = path.with_name(path.name + suffix)
            info = ImageInfo(height=HEIGHT, width=WIDTH, channels=3, dtype=np.dtype("u1"), color=True, mpp=0.5)
            with create_image(named, info, chunk=32) as canvas:
                canvas.write(Window(0, 0, HEIGHT, WIDTH), picture())
            named.rename(path)

        SAMPLES[f"fit{suffix}"] = write


_tiffs()
_zarrs()
_rasters()
_features()
_ours()


def write_samples(folder: Path) -> dict[str, dict[str, bytes]]:
    """Write each sample once; return the bytes of its files by name of the sample and path in it ("" for a file)."""
    contents = {}
    for name, write in SAMPLES.items():
        path = folder / name
        write(path)
        files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
        contents[name] = {
            "" if file == path else file.relative_to(path).as_posix(): file.read_bytes() for file in files
        }
    return contents


def is_json(data: bytes) -> bool:
    """Return whether a file of a sample is metadata of zarr."""
    try:
        return isinstance(json.loads(data), dict)
    except ValueError:
        return False
