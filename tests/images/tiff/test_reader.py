"""Varieties of TIFF are read as tifffile reads them, or as the array that was written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from support.reader_contract import Case, ReaderContract, read_all

from fitcli.images.base import Pixels
from fitcli.images.open import open_image

HEIGHT, WIDTH = 203, 277


def picture(height: int = HEIGHT, width: int = WIDTH, channels: int = 3, dtype: str = "u1") -> Pixels:
    """Return pixels that are smooth enough for JPEG, and noisy enough to reveal mistakes."""
    y, x = np.mgrid[0:height, 0:width]
    waves = np.stack([np.sin(x / (7 + c)) * np.cos(y / (9 - c % 5)) for c in range(channels)], -1)
    noise = np.random.default_rng(0).uniform(0, 0.05, waves.shape)
    scaled = (waves + 1) / 2.1 + noise / 2.1
    kind = np.dtype(dtype)
    if kind.kind == "b":
        return scaled > 0.5
    if kind.kind == "f":
        return scaled.astype(kind)
    return (scaled * min(np.iinfo(kind).max, 2**31)).astype(kind)


def halved(pixels: Pixels, times: int = 1) -> Pixels:
    for _ in range(times):
        pixels = pixels[: pixels.shape[0] // 2 * 2 : 2, : pixels.shape[1] // 2 * 2 : 2]
    return pixels


Writer = Callable[[Path], list[Pixels] | None]
"""Writes a file; returns the expected levels, or None for level 0 as tifffile reads it, channels last."""

VARIETIES: dict[str, Writer] = {}


def variety(writer: Writer) -> Writer:
    VARIETIES[writer.__name__] = writer
    return writer


def plain(name: str, pixels: Pixels, **options: object) -> None:
    """Add a variety that is written by one call of `imwrite`, and read back without changes."""
    stored = pixels[:, :, 0] if pixels.shape[-1] == 1 else pixels

    def write(path: Path) -> None:
        tifffile.imwrite(path, stored, **options)

    VARIETIES[name] = write


RGB = {"photometric": "rgb"}
plain("raw_tiles", picture(), tile=(64, 64), **RGB)
plain("raw_strips", picture(), rowsperstrip=7, **RGB)
plain("raw_one_strip", picture(), **RGB)
plain("lzw_predictor_tiles", picture(), tile=(64, 64), compression="lzw", predictor=2, **RGB)
plain("deflate_predictor_strips", picture(), rowsperstrip=16, compression="deflate", predictor=2, **RGB)
plain("deflate_one_strip", picture(), compression="deflate", **RGB)
plain("zstd_odd_tiles", picture(), tile=(80, 48), compression="zstd", predictor=2, **RGB)
plain("packbits", picture(channels=1), rowsperstrip=9, compression="packbits")
plain("jpeg_ycbcr", picture(), tile=(64, 64), compression="jpeg", **RGB)
plain(
    "jpeg_444", picture(), tile=(64, 64), compression="jpeg", subsampling=(1, 1), compressionargs={"level": 95}, **RGB
)
plain("jpeg_strips", picture(), rowsperstrip=32, compression="jpeg", **RGB)
plain("jpeg_grey", picture(channels=1), tile=(64, 64), compression="jpeg")
plain("jpeg2000", picture(), tile=(64, 64), compression="jpeg2000", **RGB)
plain("webp", picture(), tile=(64, 64), compression="webp", compressionargs={"lossless": True}, **RGB)
plain("bigtiff", picture(), tile=(64, 64), bigtiff=True, compression="zstd", **RGB)
plain("big_endian_raw", picture(dtype="u2"), tile=(64, 64), byteorder=">", **RGB)
plain("big_endian_deflate", picture(dtype="u2"), tile=(64, 64), byteorder=">", compression="deflate", **RGB)
plain("rgba_u16", picture(channels=4, dtype="u2"), rowsperstrip=1, extrasamples=["unassalpha"], **RGB)
plain("five_samples", picture(channels=5), tile=(64, 64), planarconfig="contig", photometric="minisblack")
plain("bool", picture(channels=1, dtype="?"))
plain("bool_tiles", picture(channels=1, dtype="?"), tile=(64, 64), compression="deflate")
for _dtype in ("i1", "i2", "u4", "i4", "f2", "f4", "f8", "u8"):
    plain(f"dtype_{_dtype}", picture(channels=1, dtype=_dtype), tile=(64, 64), compression="deflate")
plain("float_predictor", picture(channels=1, dtype="f4"), tile=(64, 64), compression="deflate", predictor=3)


@variety
def planar_separate(path: Path) -> list[Pixels]:
    pixels = picture()
    options = {"planarconfig": "separate", "photometric": "rgb", "compression": "deflate"}
    tifffile.imwrite(path, pixels.transpose(2, 0, 1), tile=(64, 64), **options)
    return [pixels]


@variety
def planar_separate_raw_strips(path: Path) -> list[Pixels]:
    pixels = picture(dtype="u2")
    tifffile.imwrite(path, pixels.transpose(2, 0, 1), planarconfig="separate", photometric="rgb", rowsperstrip=10)
    return [pixels]


@variety
def pages_of_channels(path: Path) -> list[Pixels]:
    pixels = picture(channels=5, dtype="u2")
    tifffile.imwrite(path, pixels.transpose(2, 0, 1), ome=True, tile=(64, 64), metadata={"axes": "CYX"})
    return [pixels]


@variety
def pages_that_follow_each_other(path: Path) -> list[Pixels]:
    pixels = picture(channels=5, dtype="u2")
    tifffile.imwrite(path, pixels.transpose(2, 0, 1), photometric="minisblack", metadata={"axes": "CYX"})
    return [pixels]


@variety
def pyramid_of_channels(path: Path) -> list[Pixels]:
    levels = [picture(channels=3, dtype="u2"), halved(picture(channels=3, dtype="u2"))]
    options = {"tile": (64, 64), "compression": "deflate", "photometric": "minisblack"}
    with tifffile.TiffWriter(path, ome=True) as file:
        file.write(levels[0].transpose(2, 0, 1), subifds=1, metadata={"axes": "CYX"}, **options)
        file.write(levels[1].transpose(2, 0, 1), subfiletype=1, **options)
    return levels


@variety
def ome_five_axes(path: Path) -> list[Pixels]:
    pixels = picture(channels=2)
    stack = pixels.transpose(2, 0, 1)[None, :, None]
    tifffile.imwrite(path, stack, ome=True, compression="zstd", rowsperstrip=20, metadata={"axes": "TCZYX"})
    return [pixels]


@variety
def imagej_channels(path: Path) -> list[Pixels]:
    pixels = picture(channels=4, dtype="u2")
    tifffile.imwrite(path, pixels.transpose(2, 0, 1), imagej=True, metadata={"axes": "CYX"})
    return [pixels]


@variety
def palette(path: Path) -> list[Pixels]:
    indices = picture(channels=1)[:, :, 0]
    colors = np.random.default_rng(1).integers(0, 2**16, (3, 256), np.uint16)
    tifffile.imwrite(path, indices, photometric="palette", colormap=colors, tile=(64, 64), compression="deflate")
    return [(colors.T >> 8).astype(np.uint8)[indices]]


@variety
def white_is_zero(path: Path) -> list[Pixels]:
    pixels = picture(channels=1)
    tifffile.imwrite(path, pixels[:, :, 0], photometric="miniswhite", rowsperstrip=20)
    return [255 - pixels]


@variety
def cmyk(path: Path) -> list[Pixels]:
    ink = picture(channels=4)
    tifffile.imwrite(path, ink, photometric="separated", tile=(64, 64), compression="deflate")
    light = 255 - ink.astype(np.float64)
    return [np.rint(light[:, :, :3] * light[:, :, 3:] / 255).astype(np.uint8)]


@variety
def sparse(path: Path) -> list[Pixels]:
    pixels = picture()
    pixels[64:128, 64:192] = 0
    pixels[192:] = 0

    def tiles():
        for top in range(0, HEIGHT, 64):
            for left in range(0, WIDTH, 64):
                tile = np.zeros((64, 64, 3), np.uint8)
                part = pixels[top : top + 64, left : left + 64]
                tile[: part.shape[0], : part.shape[1]] = part
                yield tile if tile.any() else None

    tifffile.imwrite(path, tiles(), shape=pixels.shape, dtype="u1", tile=(64, 64), compression="zstd", **RGB)
    return [pixels]


@variety
def pyramid_in_subifds(path: Path) -> list[Pixels]:
    levels = [picture(), halved(picture()), halved(picture(), 2)]
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        file.write(levels[0], subifds=2, tile=(64, 64), compression="jpeg", **RGB)
        for level in levels[1:]:
            file.write(level, subfiletype=1, tile=(64, 64), compression="jpeg", **RGB)
    with tifffile.TiffFile(path) as file:
        return [level.asarray() for level in file.series[0].levels]


@variety
def pyramid_of_reduced_pages(path: Path) -> list[Pixels]:
    levels = [picture(), halved(picture()), halved(picture(), 2)]
    with tifffile.TiffWriter(path) as file:
        for number, level in enumerate(levels):
            options = {"subfiletype": int(number > 0), "metadata": None}
            file.write(level, tile=(64, 64), compression="deflate", **options, **RGB)
    return levels


@variety
def pyramid_that_skips_levels(path: Path) -> list[Pixels]:
    levels = [picture(320, 480), halved(picture(320, 480), 3), halved(picture(320, 480), 4)]
    with tifffile.TiffWriter(path) as file:
        for number, level in enumerate(levels):
            options = {"subfiletype": int(number > 0), "metadata": None}
            file.write(level, tile=(64, 64), compression="deflate", **options, **RGB)
    return levels


@variety
def aperio(path: Path) -> list[Pixels]:
    levels = [picture(512, 640), halved(picture(512, 640), 2)]
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        options = {"tile": (128, 128), "compression": "zstd", "metadata": None, "photometric": "rgb"}
        description = "Aperio Image Library v12\r\n640x512 [0,0 640x512] (128x128)|AppMag = 20|MPP = 0.4990"
        file.write(levels[0], description=description, **options)
        file.write(picture(96, 120), description=description, metadata=None, photometric="rgb")
        file.write(levels[1], description=description, **options)
        file.write(picture(90, 90), description="label", subfiletype=1, metadata=None, photometric="rgb")
        file.write(picture(70, 200), description="macro", subfiletype=9, metadata=None, photometric="rgb")
    return levels


@variety
def largest_of_several(path: Path) -> list[Pixels]:
    with tifffile.TiffWriter(path) as file:
        file.write(picture(40, 60), metadata=None, **RGB)
        file.write(picture(), metadata=None, tile=(64, 64), **RGB)
        file.write(picture(90, 31), metadata=None, **RGB)
    return [picture()]


@pytest.fixture(scope="module", params=VARIETIES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    path = tmp_path_factory.mktemp("tiff") / "image"
    levels = VARIETIES[request.param](path)
    if levels is None:
        pixels = tifffile.imread(path)
        levels = [pixels if pixels.ndim == 3 else pixels[:, :, None]]
    return Case(path, levels)


class TestTiff(ReaderContract):
    pass


FORMATS = {"aperio": "SVS", "imagej_channels": "ImageJ TIFF", "ome_five_axes": "OME-TIFF", "raw_tiles": "TIFF"}


@pytest.mark.parametrize(("name", "expected"), FORMATS.items())
def test_format_is_named(tmp_path: Path, name: str, expected: str):
    VARIETIES[name](tmp_path / "image")
    with open_image(tmp_path / "image") as reader:
        assert reader.info.format == expected


COLORED = dict.fromkeys(["raw_tiles", "jpeg_ycbcr", "palette", "cmyk", "rgba_u16", "planar_separate"], True)
GREY = dict.fromkeys(["packbits", "pages_of_channels", "five_samples", "white_is_zero"], False)


@pytest.mark.parametrize(("name", "expected"), (COLORED | GREY).items())
def test_color_is_recognised(tmp_path: Path, name: str, expected: bool):
    VARIETIES[name](tmp_path / "image")
    with open_image(tmp_path / "image") as reader:
        assert reader.info.color is expected


def test_uncompressed_ycbcr_becomes_rgb(tmp_path: Path):
    path = tmp_path / "image.tif"
    ycbcr = np.full((32, 32, 3), (76, 85, 255), np.uint8)  # pure red
    tifffile.imwrite(path, ycbcr, photometric="ycbcr", compression="deflate", metadata=None)
    with open_image(path) as reader:
        assert reader.info.color
        np.testing.assert_allclose(read_all(reader)[0, 0], (254, 0, 0), atol=1)
