"""Images in pixels of another size: equal to a plain resampling of the whole image, whatever the windows."""

from __future__ import annotations

import pickle
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.pictures import endless_image, save

from fitcli.errors import ImageError
from fitcli.images import rescaled
from fitcli.images.array_image import ArrayReader
from fitcli.images.base import ImageInfo, Pixels
from fitcli.images.georeference import GeoReference
from fitcli.images.missing import missing_pixels, nodata_value
from fitcli.images.open import open_image
from fitcli.images.pyramid import halve
from fitcli.images.reader_memory import reader_bytes
from fitcli.images.rescaled import PIECE_BYTES, Rescaled, stored_grid
from fitcli.images.window import Window

DTYPES = ("bool", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8")


def weights(source: int, target: int) -> NDArray[np.float64]:
    """The weights [target source] of a plain resampling along one axis."""
    matrix = np.zeros((target, source))
    for t in range(target):
        if target < source:
            for s in range(source):
                low, high = max(t * source / target, s), min((t + 1) * source / target, s + 1)
                matrix[t, s] = max(0.0, high - low) * target / source
        else:
            place = min(max((t + 0.5) * source / target - 0.5, 0), source - 1)
            first = min(int(place), max(source - 2, 0))
            matrix[t, first] += 1 - (place - first)
            if source > 1:
                matrix[t, first + 1] += place - first
    return matrix


def resampled(pixels: np.ndarray, size: tuple[int, int], nodata: float | None = None) -> np.ndarray:
    """The whole image resampled, slowly; nan where all is missing."""
    rows, columns = (weights(source, target) for source, target in zip(pixels.shape[:2], size, strict=True))
    values = pixels.astype(np.float64)
    present = np.isfinite(values) & (np.ones(values.shape, bool) if nodata is None else values != nodata)
    total = np.einsum("ij,jkc,lk->ilc", rows, np.where(present, values, 0), columns)
    share = np.einsum("ij,jkc,lk->ilc", rows, present.astype(float), columns)
    return np.where(share > 1e-12, total / np.maximum(share, 1e-12), np.nan)


def noise(shape: Sequence[int], dtype: str = "f8", seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if dtype == "bool":
        return rng.random(shape) < 0.5
    if np.dtype(dtype).kind == "f":
        return rng.normal(0, 100, shape).astype(dtype)
    return rng.integers(0, 100, shape).astype(dtype)


def whole(image: Rescaled, level: int = 0) -> np.ndarray:
    shown = image.info.levels[level]
    return image.read(Window(0, 0, shown.height, shown.width), level)


@pytest.mark.walk
@pytest.mark.parametrize("factor", [0.3, 0.5, 0.77, 1.3, 1.5, 2.0, 3.7, 40.0])
@pytest.mark.parametrize("shape", [(37, 23, 3), (40, 60, 1), (1, 17, 2), (9, 1, 1)])
def test_equal_to_a_plain_resampling(factor: float, shape: tuple[int, int, int]) -> None:
    pixels = noise(shape)
    image = Rescaled(ArrayReader(pixels), 0, factor)
    assert image.info.size == tuple(max(1, round(side / factor)) for side in shape[:2])
    np.testing.assert_allclose(whole(image), resampled(pixels, image.info.size), rtol=1e-12, atol=1e-10)


@pytest.mark.walk
@pytest.mark.parametrize("factor", [0.3, 0.5, 0.77, 1.0, 1.3, 2.0, 3.7, 40.0])
@pytest.mark.parametrize("shape", [(37, 23, 3), (40, 60, 1), (1, 17, 2), (9, 1, 1)])
@pytest.mark.parametrize("piece", [10, 1 << 20])
def test_indices_become_the_nearest_ones(
    monkeypatch: pytest.MonkeyPatch, factor: float, shape: tuple[int, int, int], piece: int
) -> None:
    monkeypatch.setattr(rescaled, "PIECE_VALUES", piece)
    pixels = noise(shape, "u1")
    image = Rescaled(ArrayReader(pixels), 0, factor, nearest=True)
    rows, columns = (
        np.floor((np.arange(new) + 0.5) * old / new).astype(int)
        for new, old in zip(image.info.size, shape[:2], strict=True)
    )
    np.testing.assert_array_equal(whole(image), pixels[rows][:, columns])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("factor", [0.6, 2.5])
def test_every_dtype(dtype: str, factor: float) -> None:
    pixels = noise((30, 41, 2), dtype)
    image = Rescaled(ArrayReader(pixels), 0, factor)
    exact = resampled(pixels, image.info.size)
    result = whole(image)
    assert result.dtype == image.info.dtype == np.dtype(dtype)
    if dtype == "bool":
        clear = np.abs(exact - 0.5) > 1e-9
        assert (result == (exact > 0.5))[clear].all()
    else:
        tolerance = 0.5 + 1e-9 if result.dtype.kind in "iu" else {"f2": 0.2, "f4": 1e-4, "f8": 1e-10}[dtype]
        assert np.abs(result.astype(np.float64) - exact).max() <= tolerance


@pytest.mark.parametrize("dtype", ["u1", "u2", "u8", "i8", "f4", "f8"])
@pytest.mark.parametrize("factor", [0.7, 1.9])
def test_extreme_values_stay_what_they_are(dtype: str, factor: float) -> None:
    kind = np.dtype(dtype)
    limits = np.finfo(kind) if kind.kind == "f" else np.iinfo(kind)
    for value in (limits.min, limits.max):
        image = Rescaled(ArrayReader(np.full((20, 21, 1), value, kind)), 0, factor)
        result = whole(image)
        assert np.allclose(result / value, 1) if kind.kind == "f" else (result == value).all()


@pytest.mark.parametrize("factor", [0.6, 2.0, 2.7])
@pytest.mark.parametrize(
    ("dtype", "nodata"), [("u1", 7.0), ("i2", -9999.0), ("f4", None), ("f4", -3.4e38), ("f8", np.nan)]
)
def test_missing_pixels_are_left_out(dtype: str, nodata: float | None, factor: float) -> None:
    pixels = noise((33, 29, 2), dtype)
    mask = np.random.default_rng(1).random(pixels.shape) < 0.3
    mask[:12, :9] = True
    mark = np.nan if nodata is None else np.array(nodata).astype(dtype)
    pixels[mask] = mark
    if pixels.dtype.kind == "f":
        pixels[20, 20, 0], pixels[25, 3, 1] = np.inf, -np.inf
    image = Rescaled(ArrayReader(pixels, nodata=nodata), 0, factor)
    exact = resampled(pixels, image.info.size, None if nodata is None or np.isnan(nodata) else float(mark))
    result = whole(image)
    gone = np.isnan(exact)
    assert gone.any()
    assert (np.isnan(result) if np.isnan(mark) else result == mark)[gone].all()
    tolerance = 0.5 + 1e-9 if result.dtype.kind in "iu" else 1e-3
    # A mean that is nodata by chance becomes the next value.
    same = ~gone & (np.rint(exact) != nodata)
    assert np.abs(result.astype(np.float64) - exact)[same].max() <= tolerance


def test_half_the_size_is_a_level_of_our_pyramids() -> None:
    for dtype in ("u1", "i4", "f4"):
        pixels = noise((64, 32, 3), dtype)
        expected = halve(pixels, "mean")
        np.testing.assert_allclose(whole(Rescaled(ArrayReader(pixels), 0, 2.0)), expected, rtol=1e-6)


@pytest.mark.parametrize("nodata", [None, 0.0, -9999.0, -3.40282e38, 1e39, np.nan])
@pytest.mark.parametrize("factor", [0.7, 2.0, 3.1])
def test_missing_is_what_is_missing_to_pyramids_and_models(nodata: float | None, factor: float) -> None:
    """Every spelling of a mark is missing before resampling and after it, and nothing else is."""
    pixels = np.random.default_rng(0).integers(-3, 4, (40, 40, 1)).astype(np.float32)
    lowest = np.finfo(np.float32).min
    spelled = [] if nodata is None else [nodata_value(nodata, pixels.dtype)]
    for number, mark in enumerate([*spelled, *([lowest] if nodata == -3.40282e38 else []), np.nan, np.inf, -np.inf]):
        pixels[8 * number : 8 * number + 6, :30] = mark
    usable = ~_missing(pixels, nodata)
    for result in (whole(Rescaled(ArrayReader(pixels, nodata=nodata), 0, factor)), halve(pixels, "mean", nodata)):
        gone = _missing(result, nodata)
        share = resampled(usable.astype(np.float64), result.shape[:2])
        np.testing.assert_array_equal(gone, share == 0)
        assert np.abs(result[~gone]).max() <= 3 * (1 + 1e-6)


def _missing(pixels: Pixels, nodata: float | None) -> NDArray[np.bool_]:
    marked = missing_pixels(pixels, nodata)
    return np.zeros(pixels.shape, bool) if marked is None else marked


@settings(max_examples=60)
@given(
    height=st.integers(1, 60), width=st.integers(1, 60), factor=st.sampled_from([0.21, 0.5, 0.9, 1.17, 2.0, 3.3, 17.0]),
    corner=st.tuples(st.integers(-9, 200), st.integers(-9, 200)),
    side=st.tuples(st.integers(0, 90), st.integers(0, 90)), values=st.sampled_from([1, 40, 500, 10**6]),
    holes=st.booleans(),
)  # fmt: skip
def test_a_window_is_a_crop_of_the_whole(
    height: int, width: int, factor: float, corner: tuple[int, int], side: tuple[int, int], values: int, holes: bool
) -> None:
    pixels = noise((height, width, 2), "f4")
    if holes:
        pixels[noise(pixels.shape, "bool", 3)] = np.nan
    image = Rescaled(ArrayReader([pixels, pixels[::2, ::2]]), 0, factor)
    for level in range(2):
        expected = whole(image, level)
        window = Window(*corner, *side)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rescaled, "PIECE_VALUES", values)
            part = image.read(window, level)
        clipped = window.clip(*expected.shape[:2])
        assert part.shape[:2] == (clipped.height, clipped.width)
        assert part.tobytes() == np.ascontiguousarray(expected[clipped.slices()]).tobytes(), "to the bit"


def test_a_level_is_an_image_of_its_own(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", noise((1500, 700, 3), "u1"), 0.25)
    with open_image(path) as stored, Rescaled(open_image(path), 1) as view:
        assert len(view.info.levels) == len(stored.info.levels) - 1 > 0
        assert view.info.size == (750, 350)
        assert view.info.mpp == pytest.approx(0.5)
        assert view.info.levels[0].downsample == 1.0
        assert view.info.levels[1].downsample == pytest.approx(2.0)
        for level in range(len(view.info.levels)):
            window = Window(20, 30, 50, 60)
            assert (view.read(window, level) == stored.read(window, level + 1)).all()
        assert (pickle.loads(pickle.dumps(view)).read(Window(0, 0, 9, 9)) == view.read(Window(0, 0, 9, 9))).all()
        with pytest.raises(ImageError, match="has no level"):
            view.read(Window(0, 0, 1, 1), len(view.info.levels))


def test_the_smaller_levels_of_a_rescaled_image() -> None:
    levels = [np.zeros((side, side, 1), "u1") for side in (1000, 500, 250)]
    info = Rescaled(ArrayReader(levels, mpp=0.2), 0, 1.6).info
    assert [(level.height, round(level.downsample, 9)) for level in info.levels] == [(625, 1), (312, 2), (156, 4)]
    assert info.mpp == pytest.approx(0.32)


@pytest.mark.parametrize("size", [(250, 250), (250, 40), (40, 250), (7, 5)], ids=str)
@pytest.mark.parametrize("factor", [0.3, 1.0, 1.7, 3.0, 200.0])
def test_the_scale_is_that_of_the_pixels(size: tuple[int, int], factor: float) -> None:
    """250 pixels of 1 micron, read at 3, are 83 pixels of 250 / 83 microns: together they are as wide as before."""
    info = Rescaled(ArrayReader(np.zeros((*size, 1), "u1"), mpp=1.0), 0, factor).info
    assert info.mpp is not None
    assert info.mpp * max(info.size) == pytest.approx(max(size), rel=1e-12)


@pytest.mark.parametrize("factor", [0.4, 2.5])
def test_the_same_place_on_the_earth(factor: float) -> None:
    geo = GeoReference(scale=(10.0, 10.0, 0.0), tiepoints=(0, 0, 0, 5000.0, 9000.0, 0))
    reader = ArrayReader(np.zeros((100, 50, 1), "u1"))
    reader.info = ImageInfo(height=100, width=50, channels=1, dtype=np.dtype("u1"), geo=geo, chunk=(20, 10))
    info = Rescaled(reader, 0, factor).info
    assert info.geo is not None
    assert info.geo.scale[0] * info.width == pytest.approx(10.0 * 50)
    assert info.geo.scale[1] * info.height == pytest.approx(10.0 * 100)
    assert info.geo.tiepoints[3:5] == (5000.0, 9000.0)
    assert info.chunk == (round(20 / factor), round(10 / factor))


def test_impossible_views_are_refused() -> None:
    image = ArrayReader(np.zeros((9, 9, 1), "u1"))
    with pytest.raises(ImageError, match=r"has no level 1; its levels are 0 to 0"):
        Rescaled(image, 1)
    for factor in (1e-9, 1e9, 0.0, np.nan, np.inf):
        with pytest.raises(ImageError, match="check the scale"):
            Rescaled(image, 0, factor)


def test_closing_closes_the_image(tmp_path: Path) -> None:
    view = Rescaled(open_image(save(tmp_path / "a.tif", noise((64, 64, 1), "u1"))), 0, 2.0)
    view.close()
    with pytest.raises(ImageError, match="closed"):
        view.read(Window(0, 0, 2, 2))


@pytest.mark.parametrize("factor", [0.3, 3.0, 250.0])
def test_memory_is_bounded_and_counted(tmp_path: Path, factor: float) -> None:
    side = 10**6
    with Rescaled(open_image(endless_image(tmp_path / "endless.zarr", side)), 0, factor) as view:
        window = Window(view.info.height - 40, view.info.width - 40, 300, 300)
        assert (view.read(Window(5, 5, 3, 3)) == 9).all()
        tracemalloc.start()
        try:
            assert (view.read(window) == 9).all()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak <= reader_bytes(view, 40)
        assert reader_bytes(view, 40) >= PIECE_BYTES


def test_stored_grid() -> None:
    image = ArrayReader([noise((100, 64, 1)), noise((50, 32, 1)), noise((25, 16, 1))], mpp=0.5)
    assert stored_grid(image) == (image.info, 1, 1)
    assert stored_grid(Rescaled(image, 2)) == (image.info, 4, 4)
    shown = Rescaled(image, 1, 1.5)
    assert shown.info.size == (33, 21)
    assert stored_grid(shown) == (image.info, 2 * 50 / 33, 2 * 32 / 21)
    again = Rescaled(shown, 0, 3.0)
    info, rows, columns = stored_grid(again)
    assert (info, rows, columns) == (image.info, pytest.approx(100 / 11), pytest.approx(64 / 7))
