"""Mean, deviation and range agree with numpy at any scale, and do not depend on outliers or missing pixels."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fitcli.data.pixel_statistics import PixelStatistics, merge_statistics, window_statistics

SHAPE = (40, 30, 2)


def statistics_of(windows: list[NDArray[Any]], missing: NDArray[np.bool_] | None = None) -> PixelStatistics:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return merge_statistics([window_statistics(pixels, missing) for pixels in windows])


def windows_of(dtype: str, scale: float = 1.0, offset: float = 0.0, count: int = 5) -> list[NDArray[Any]]:
    """Windows whose brightness differs a little."""
    rng = np.random.default_rng(0)
    units = [100 + number + 20 * rng.standard_normal(SHAPE) for number in range(count)]
    return [(offset + scale * unit).astype(dtype) for unit in units]


def exact(windows: list[NDArray[Any]]) -> tuple[NDArray[Any], NDArray[Any], tuple[float, float]]:
    values = np.concatenate([pixels.reshape(-1, pixels.shape[-1]) for pixels in windows]).astype(np.longdouble)
    return values.mean(axis=0), values.std(axis=0), (float(values.min()), float(values.max()))


CASES = [
    *((dtype, scale, offset) for dtype in ("float32", "float64") for scale in (1e-8, 1.0, 1e8)
      for offset in (0.0, -1e3 * scale, 1e5 * scale)),
    ("float64", 1e-8, 1.0), ("float64", 1e-200, 0.0), ("float64", 1e120, 0.0), ("float32", 1e34, 0.0),
    ("float16", 1.0, 0.0), ("float16", 1e-3, 0.0), ("int32", 0.15, 1e9), ("int32", 1e6, -5e8), ("uint32", 0.15, 4e9),
    ("int16", 50.0, 0.0), ("uint16", 100.0, 0.0), ("int8", 0.3, 0.0), ("uint8", 1.0, 0.0), ("int64", 0.15, 1e12),
]  # fmt: skip


@pytest.mark.parametrize(("dtype", "scale", "offset"), CASES)
def test_every_scale_offset_and_type(dtype: str, scale: float, offset: float) -> None:
    windows = windows_of(dtype, scale, offset)
    found, (mean, std, limits) = statistics_of(windows), exact(windows)
    np.testing.assert_allclose(np.array(found.mean, np.longdouble), mean, rtol=1e-12, atol=float(std.max()) * 1e-6)
    np.testing.assert_allclose(np.array(found.std, np.longdouble), std, rtol=1e-6)
    assert (found.limits, found.missing, found.odd) == (limits, 0, ())


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint16", "int32"])
@pytest.mark.parametrize("hot", [1e4, 3e38])
def test_hot_pixels_do_not_count(dtype: str, hot: float) -> None:
    windows = windows_of(dtype)
    clean = statistics_of(windows)
    most = float(np.finfo(dtype).max if dtype.startswith("float") else np.iinfo(dtype).max)
    windows[2][3, 4, 0] = min(hot, most)
    if dtype != "uint16":
        windows[4][7, 7, 1] = -min(hot, most)
    found = statistics_of(windows)
    np.testing.assert_allclose(found.mean, clean.mean, rtol=1e-3)
    np.testing.assert_allclose(found.std, clean.std, rtol=1e-3)
    assert found.limits == pytest.approx(clean.limits, rel=0.1)


@pytest.mark.parametrize("count", [4, 10, 64])
def test_one_odd_image_does_not_count(count: int) -> None:
    """It is in other units, by a factor of a thousand, and is named."""
    windows = windows_of("float32", count=count)
    expected = statistics_of(windows[:2] + windows[3:])
    windows[2] = windows[2] * 1000
    found = statistics_of(windows)
    assert (found.odd, found.limits) == ((2,), expected.limits)
    np.testing.assert_allclose([found.mean, found.std], [expected.mean, expected.std], rtol=1e-9)


def test_images_that_differ_all_count() -> None:
    """Two classes, far from each other; and few images, of which none can be called odd."""
    dark, light = windows_of("float32"), windows_of("float32", offset=1e5)
    for windows in (dark + light, [*dark[:2], light[0]], [dark[0], light[0]]):
        found, (mean, std, limits) = statistics_of(windows), exact(windows)
        assert (found.odd, found.limits) == ((), limits)
        np.testing.assert_allclose([found.mean, found.std], [mean.astype(float), std.astype(float)], rtol=1e-9)


def test_nothing_in_8_bits_is_an_outlier() -> None:
    windows = [np.full(SHAPE, 3, np.uint8) for _ in range(20)]
    for pixels in windows:
        pixels[::2] = 4
    windows[0][5, 5], windows[7][:] = 255, 250
    found, (mean, std, limits) = statistics_of(windows), exact(windows)
    assert (found.odd, found.limits) == ((), limits)
    np.testing.assert_allclose([found.mean, found.std], [mean.astype(float), std.astype(float)], rtol=1e-12)


def test_thin_strokes_on_plain_ground_are_no_outliers() -> None:
    windows = [np.zeros((200, 200, 1), np.float32) for _ in range(3)]
    for pixels in windows:
        pixels[4, :2] = 9
    assert statistics_of(windows).limits == (0, 9)


def test_missing_values_do_not_count() -> None:
    windows = windows_of("float32", count=3)
    expected = [pixels[20:] for pixels in windows]
    missing = np.zeros(SHAPE, bool)
    missing[:20] = True
    for pixels in windows:
        pixels[:20] = np.nan
        pixels[:5, :, 0] = -9999
    found, (mean, std, limits) = statistics_of(windows, missing), exact(expected)
    assert (found.missing, found.limits) == (0.5, limits)
    np.testing.assert_allclose([found.mean, found.std], [mean.astype(float), std.astype(float)], rtol=1e-9)


def test_constant_and_missing_channels() -> None:
    constant = [np.full((5, 5, 1), value, np.float32) for value in (0.1, 0.1)]
    found = statistics_of(constant)
    assert (found.mean, found.std) == ((pytest.approx(0.1, rel=1e-6),), (1.0,))
    assert found.limits == (float(np.float32(0.1)), float(np.float32(0.1)) + 1)
    for value in (1e30, -1e30):
        limits = statistics_of([np.full((5, 5, 1), value, np.float32)]).limits
        assert limits is not None
        assert limits[0] < limits[1]
    nothing = merge_statistics([window_statistics(constant[0], np.ones((5, 5, 1), bool))])
    assert (nothing.mean, nothing.std, nothing.limits, nothing.missing) == ((0.0,), (1.0,), None, 1.0)
