"""TIFF and OME-TIFF canvases, read back with tifffile (and OpenSlide and libvips where they are installed)."""

from __future__ import annotations

import errno
import os
import warnings
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features
from support.writer_contract import HEIGHT, WIDTH, PyramidContract, WriterContract, cut, halved

from fitcli.errors import ImageError
from fitcli.images.base import ImageInfo, Pixels
from fitcli.images.georeference import GeoReference
from fitcli.images.open import create_image, open_image
from fitcli.images.tiff.writer import MAX_SAMPLES_BYTES
from fitcli.images.window import Window


def read_levels(path: Path) -> list[Pixels]:
    with tifffile.TiffFile(path) as tiff:
        axes = tiff.series[0].axes
        levels = [level.asarray() for level in (tiff.series[0].levels if tiff.is_ome else tiff.pages)]
    if axes == "YX":
        return [level[:, :, None] for level in levels]
    return levels if axes == "YXS" else [level.transpose(1, 2, 0) for level in levels]


def write(path: Path, pixels: Pixels, *, info: dict[str, Any] | None = None, **options: Any) -> None:
    height, width, channels = pixels.shape
    described = ImageInfo(height=height, width=width, channels=channels, dtype=pixels.dtype, **(info or {}))
    with create_image(path, described, **{"chunk": 32, **options}) as image:
        image.write(Window(0, 0, height, width), pixels)


def noise(channels: int, dtype: Any, height: int = 70, width: int = 101) -> Pixels:
    return np.random.default_rng(0).integers(0, 200, (height, width, channels)).astype(dtype)


class TestTiff(PyramidContract):
    name = "image.tif"
    options = {"chunk": 32, "compression": "deflate"}  # noqa: RUF012

    def read_back(self, path: Path) -> list[Pixels]:
        return read_levels(path)


class TestOmeTiff(TestTiff):
    name = "image.ome.tif"


class TestOmeTiffOfChannels(TestTiff):
    name = "image.OME.TIFF"
    channels = 5
    dtype = np.uint16
    color = False


class TestTiffOfChannels(TestTiff):
    name = "image.tiff"
    channels = 2
    dtype = np.int16
    color = False


class TestFloatTiff(TestTiff):
    channels = 1
    dtype = np.float32
    color = False


class TestJpegTiff(WriterContract):
    name = "image.tif"
    tolerance = 12

    def read_back(self, path: Path) -> list[Pixels]:
        return read_levels(path)


@pytest.mark.walk
@pytest.mark.parametrize("suffix", [".tif", ".ome.tif"])
@pytest.mark.parametrize("compression", ["deflate", "zstd", "lzw", "none"])
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8"])
def test_lossless_compressions(tmp_path: Path, suffix: str, compression: str, dtype: str) -> None:
    if (suffix, dtype) == (".ome.tif", "f2"):
        with pytest.raises(ImageError, match="OME-TIFF cannot hold float16"):
            write(tmp_path / "x.ome.tif", noise(1, dtype))
        return
    for channels, color in ((1, False), (3, True), (4, True), (3, False)):
        pixels = noise(channels, dtype)
        write(tmp_path / f"x{suffix}", pixels, info={"color": color}, compression=compression)
        np.testing.assert_array_equal(read_levels(tmp_path / f"x{suffix}")[0], pixels)


@pytest.mark.skipif(not features.check("libtiff"), reason="needs a Pillow with libtiff")
def test_libtiff_reads_what_is_compressed_with_zstd(tmp_path: Path) -> None:
    pixels = noise(3, "u1")
    write(tmp_path / "x.tif", pixels, info={"color": True}, compression="zstd")
    with Image.open(tmp_path / "x.tif") as image:
        np.testing.assert_array_equal(np.asarray(image), pixels)


@pytest.mark.parametrize("compression", ["deflate", "zstd"])
def test_a_flipped_bit_is_noticed(tmp_path: Path, compression: str) -> None:
    path = tmp_path / "x.tif"
    write(path, noise(3, "u1", 64, 64), info={"color": True}, compression=compression)
    with tifffile.TiffFile(path) as file:
        start, size = file.pages[0].dataoffsets[0], file.pages[0].databytecounts[0]
    whole = path.read_bytes()
    for position in range(start + 20, start + size, size // 20):
        damaged = bytearray(whole)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        with open_image(path) as image, pytest.raises(ImageError, match=r"x\.tif: "):
            image.read(Window(0, 0, 64, 64))


@given(data=st.data())
@settings(max_examples=25)
def test_any_size(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("any")
    height, width = data.draw(st.integers(1, 100)), data.draw(st.integers(1, 100))
    channels = data.draw(st.integers(1, 4))
    pixels = noise(channels, data.draw(st.sampled_from(["u1", "u2", "i2", "f4"])), height, width)
    windows = cut(height, width, data.draw(st.integers(7, 150)), data.draw(st.integers(7, 150)))
    path = folder / data.draw(st.sampled_from(["x.tif", "x.ome.tif"]))
    info = ImageInfo(height=height, width=width, channels=channels, dtype=pixels.dtype, color=channels == 3)
    options: dict[str, Any] = {"chunk": data.draw(st.sampled_from([16, 48, 64])), "compression": "zstd"}
    with create_image(path, info, memory_bytes=data.draw(st.sampled_from([1, 10_000, 10**7])), **options) as image:
        for window in data.draw(st.permutations(windows)):
            image.write(window, pixels[window.slices()])
    expected = pixels
    for level in read_levels(path):
        np.testing.assert_array_equal(level, expected)
        expected = halved(expected)


def test_jpeg_levels_are_close_and_colours_right(tmp_path: Path) -> None:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    pixels = np.stack([rows, columns, 255 - rows], axis=2).clip(0, 255).astype(np.uint8)
    write(tmp_path / "x.tif", pixels, info={"color": True})
    expected = pixels
    for level in read_levels(tmp_path / "x.tif"):
        assert np.abs(level.astype(int) - expected).mean() < 2
        expected = halved(expected)
    with tifffile.TiffFile(tmp_path / "x.tif") as tiff:
        assert tiff.pages[0].compression == tifffile.COMPRESSION.JPEG
        assert tiff.pages[0].photometric == tifffile.PHOTOMETRIC.YCBCR


@pytest.mark.parametrize(
    ("channels", "dtype", "color", "resampling", "expected"),
    [
        (3, "u1", True, "mean", "JPEG"),
        (3, "u1", True, "nearest", "ADOBE_DEFLATE"),
        (3, "u1", False, "mean", "ADOBE_DEFLATE"),
        (4, "u1", True, "mean", "ADOBE_DEFLATE"),
        (3, "u2", True, "mean", "ADOBE_DEFLATE"),
        (1, "u1", False, "mean", "ADOBE_DEFLATE"),
    ],
)
def test_default_compression(
    tmp_path: Path, channels: int, dtype: str, color: bool, resampling: str, expected: str
) -> None:
    write(tmp_path / "x.tif", noise(channels, dtype), info={"color": color}, resampling=resampling)
    with tifffile.TiffFile(tmp_path / "x.tif") as tiff:
        assert {page.compression.name for page in tiff.pages} == {expected}
        assert tiff.is_bigtiff


def test_grey_jpeg(tmp_path: Path) -> None:
    pixels = np.full((70, 101, 1), 90, np.uint8)
    write(tmp_path / "x.tif", pixels, compression="jpeg")
    np.testing.assert_array_equal(read_levels(tmp_path / "x.tif")[0], pixels)


def test_jpeg_cannot_hold_everything(tmp_path: Path) -> None:
    for channels, dtype, color in ((3, "u2", True), (4, "u1", True), (1, "f4", False)):
        with pytest.raises(ImageError, match="JPEG cannot hold"):
            write(tmp_path / "x.tif", noise(channels, dtype), info={"color": color}, compression="jpeg")
    assert os.listdir(tmp_path) == []


def test_plain_tiff_has_reduced_pages(tmp_path: Path) -> None:
    write(tmp_path / "x.tif", noise(3, "u1"), info={"color": True, "mpp": 0.25})
    with tifffile.TiffFile(tmp_path / "x.tif") as tiff:
        assert [level.shape for level in tiff.series[0].levels] == [(70, 101, 3), (35, 51, 3), (18, 26, 3)]
        assert [page.subfiletype for page in tiff.pages] == [0, 1, 1]
        assert not tiff.is_ome
        assert not tiff.pages[0].description
        assert all(page.tilewidth == page.tilelength == 32 for page in tiff.pages)
        resolutions = [page.get_resolution("CENTIMETER") for page in tiff.pages]
    np.testing.assert_allclose(resolutions, [(40000, 40000), (20000, 20000), (10000, 10000)])


@pytest.mark.parametrize(("channels", "color"), [(1, False), (3, True), (5, False)])
def test_ome_xml(tmp_path: Path, channels: int, color: bool) -> None:
    write(tmp_path / "x.ome.tif", noise(channels, "u2"), info={"color": color, "mpp": 0.5})
    with tifffile.TiffFile(tmp_path / "x.ome.tif") as tiff:
        assert tiff.series[0].kind == "ome"
        assert len(tiff.pages) == (5 if channels == 5 else 1)
        assert len(tiff.pages[0].subifds) == 2
        xml = tiff.ome_metadata
    pixels = ElementTree.fromstring(xml).find("{*}Image/{*}Pixels")
    assert pixels is not None
    stated = {key: pixels.get(key) for key in ("SizeX", "SizeY", "SizeC", "Type", "PhysicalSizeX", "PhysicalSizeYUnit")}
    assert stated == {
        "SizeX": "101",
        "SizeY": "70",
        "SizeC": str(channels),
        "Type": "uint16",
        "PhysicalSizeX": "0.5",
        "PhysicalSizeYUnit": "µm",
    }
    assert [part.get("SamplesPerPixel") for part in pixels.findall("{*}Channel")] == (
        ["3"] if color else ["1"] * channels
    )


@pytest.mark.parametrize(
    ("nodata", "text"), [(-9999.0, "-9999"), (float("nan"), "nan"), (0.1, "0.1"), (2**63 - 1, "9223372036854775807")]
)
def test_nodata(tmp_path: Path, nodata: float, text: str) -> None:
    write(tmp_path / "x.tif", noise(1, "f4"), info={"nodata": nodata})
    with tifffile.TiffFile(tmp_path / "x.tif") as tiff:
        assert tiff.pages[0].tags[42113].value == text


NAMES = ("tümor & <b>", "腫瘍")
"""Names of channels with letters that XML and ASCII do not take as they are."""


def test_names_of_channels(tmp_path: Path) -> None:
    for suffix in (".tif", ".ome.tif"):
        write(tmp_path / f"x{suffix}", noise(2, "f4"), info={"channel_names": NAMES})
    xml = tifffile.TiffFile(tmp_path / "x.ome.tif").ome_metadata
    assert xml is not None
    assert [part.get("Name") for part in ElementTree.fromstring(xml).findall(".//{*}Channel")] == list(NAMES)
    rasterio = pytest.importorskip("rasterio")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # not on the Earth
        with rasterio.open(tmp_path / "x.tif") as image:
            assert image.descriptions == NAMES
    with tifffile.TiffFile(tmp_path / "x.tif") as tiff:
        assert tiff.pages[0].tags[42112].value.isascii()
        assert all(42112 not in page.tags for page in tiff.pages[1:])


def test_missing_pixels_are_not_averaged(tmp_path: Path) -> None:
    pixels = noise(1, "f4")
    pixels[10:30, 11:37] = np.nan
    write(tmp_path / "x.tif", pixels)
    expected = pixels
    for level in read_levels(tmp_path / "x.tif"):
        np.testing.assert_array_equal(level, expected)
        expected = halved(expected)


def test_alpha(tmp_path: Path) -> None:
    write(tmp_path / "x.tif", noise(4, "u1"), info={"color": True})
    with tifffile.TiffFile(tmp_path / "x.tif") as tiff:
        assert tiff.pages[0].photometric == tifffile.PHOTOMETRIC.RGB
        assert tiff.pages[0].extrasamples == (tifffile.EXTRASAMPLE.UNASSALPHA,)


def test_disk_full_while_finishing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tifffile.TiffTag, "overwrite", fail)
    with pytest.raises(ImageError, match="the disk is full"):
        write(tmp_path / "x.tif", noise(3, "u1"))
    assert os.listdir(tmp_path) == []


def test_disk_full_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tifffile.TiffWriter, "write", fail)
    with pytest.raises(ImageError, match="the disk is full"):
        create_image(tmp_path / "x.tif", ImageInfo(height=9, width=9, channels=1, dtype=np.dtype("u1")))
    assert os.listdir(tmp_path) == []


def test_never_written_chunks_take_no_space(tmp_path: Path) -> None:
    info = ImageInfo(height=5000, width=5000, channels=3, dtype=np.dtype("u1"), color=True)
    with create_image(tmp_path / "x.tif", info, chunk=64, compression="none") as image:
        image.write(Window(1000, 1000, 10, 10), np.full((10, 10, 3), 7, np.uint8))
    assert (tmp_path / "x.tif").stat().st_size < 500_000
    levels = read_levels(tmp_path / "x.tif")
    assert levels[0].sum() == 7 * 300
    assert levels[0][1000:1010, 1000:1010].all()


def test_openslide_sees_the_levels(tmp_path: Path) -> None:
    openslide = pytest.importorskip("openslide")
    write(tmp_path / "x.tif", noise(3, "u1", 300, 200), info={"color": True, "mpp": 0.25})
    with openslide.OpenSlide(tmp_path / "x.tif") as slide:
        assert slide.level_dimensions == ((200, 300), (100, 150), (50, 75), (25, 38), (13, 19))
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.25)


@pytest.mark.parametrize("compression", ["jpeg", "deflate"])
def test_libvips_reads_it(tmp_path: Path, compression: str) -> None:
    pyvips = pytest.importorskip("pyvips")
    pixels = np.full((300, 200, 3), (200, 100, 50), np.uint8)
    write(tmp_path / "x.tif", pixels, info={"color": True}, compression=compression)
    seen = pyvips.Image.new_from_file(str(tmp_path / "x.tif")).numpy()
    assert np.abs(seen.astype(int) - pixels).max() <= 3


@pytest.mark.parametrize("name", ["x.tif", "x.ome.tif"])
@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("compression", ["none", "deflate"])
def test_levels_of_exactly_one_chunk(tmp_path: Path, compression: str, channels: int, name: str) -> None:
    """tifffile treats a level of one whole uncompressed chunk differently."""
    pixels = np.random.default_rng(0).integers(0, 255, (128, 128, channels), dtype=np.uint8)
    info = ImageInfo(height=128, width=128, channels=channels, dtype=pixels.dtype, color=channels == 3)
    with create_image(tmp_path / name, info, chunk=64, compression=compression) as image:  # type: ignore[arg-type]
        image.write(Window(0, 0, 128, 128), pixels)
    with tifffile.TiffFile(tmp_path / name) as tiff:
        levels = tiff.series[0].levels
        assert [level.shape[level.axes.index("Y")] for level in levels] == [128, 64]
        stored = levels[0].asarray()
    stored = stored[..., None] if stored.ndim == 2 else stored
    np.testing.assert_array_equal(np.moveaxis(stored, 0, -1) if channels == 5 and name != "x.tif" else stored, pixels)


@pytest.mark.parametrize(("dtype", "channels"), [("u1", 2), ("u2", 5), ("f4", 7), ("u2", 60)])
def test_tif_of_several_channels_keeps_the_samples_of_a_pixel_together(
    tmp_path: Path, dtype: str, channels: int
) -> None:
    pixels = np.random.default_rng(0).integers(0, 200, (600, 300, channels)).astype(dtype)
    info = ImageInfo(height=600, width=300, channels=channels, dtype=np.dtype(dtype))
    with create_image(tmp_path / "a.tif", info) as writer:
        writer.write(Window(0, 0, 600, 300), pixels)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        page: Any = file.pages[0]
        assert (page.planarconfig, page.photometric, len(page.extrasamples)) == (1, 1, channels - 1)
        assert set(page.extrasamples) == {0}
        assert page.tilewidth**2 * channels * np.dtype(dtype).itemsize <= MAX_SAMPLES_BYTES
    with open_image(tmp_path / "a.tif") as image:
        np.testing.assert_array_equal(image.read(Window(0, 0, 600, 300)), pixels)
        assert not image.info.color
        assert len(image.info.levels) >= 2


@pytest.mark.parametrize("place", [True, False])
def test_the_fourth_band_of_a_map_is_no_alpha(tmp_path: Path, place: bool) -> None:
    rasterio = pytest.importorskip("rasterio")
    geo = GeoReference(scale=(10.0, 10.0, 0.0), tiepoints=(0.0, 0.0, 0.0, 5e5, 5e6, 0.0)) if place else None
    info = ImageInfo(height=40, width=30, channels=4, dtype=np.dtype("u2"), color=True, geo=geo)
    with create_image(tmp_path / "a.tif", info) as writer:
        writer.write(Window(0, 0, 40, 30), np.ones((40, 30, 4), np.uint16))
    with rasterio.open(tmp_path / "a.tif") as file:
        assert [band.name for band in file.colorinterp] == ["red", "green", "blue", "undefined" if place else "alpha"]
