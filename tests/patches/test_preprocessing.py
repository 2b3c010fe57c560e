"""Pixels of other kinds are converted to those of the training images, or refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fitcli.errors import CheckpointError
from fitcli.images.base import ImageInfo
from fitcli.images.feature_grid import FeatureGrid
from fitcli.images.missing import nodata_value
from fitcli.patches.preprocessing import CURRENT_RULES, Preprocessing


def expecting(channels: int, dtype: str) -> Preprocessing:
    return Preprocessing(channels=channels, dtype=dtype, mean=(0.0,) * channels, std=(1.0,) * channels)


def file(channels: int, dtype: str, color: bool = False, alpha: bool = False) -> ImageInfo:
    return ImageInfo(height=2, width=2, channels=channels, dtype=np.dtype(dtype), color=color, alpha=alpha)


@pytest.mark.parametrize(
    ("model", "image"),
    [
        (expecting(3, "uint8"), file(5, "uint8")),
        (expecting(5, "uint16"), file(3, "uint16", color=True)),
        (expecting(3, "uint8"), file(3, "float32")),
        (expecting(3, "float32"), file(3, "uint8", color=True)),
        (expecting(1, "uint8"), file(3, "uint8")),
        (expecting(1, "int16"), file(1, "uint16")),
    ],
)
def test_what_cannot_be_converted_is_refused_with_what_to_do(model: Preprocessing, image: ImageInfo) -> None:
    reason = model.mismatch(image)
    assert reason is not None
    assert "; " in reason


@pytest.mark.parametrize(
    ("model", "image"),
    [
        (expecting(3, "uint8"), file(4, "uint8", color=True)),
        (expecting(3, "uint8"), file(1, "uint16")),
        (expecting(1, "uint8"), file(3, "uint8", color=True)),
        (expecting(1, "uint8"), file(2, "uint8", alpha=True)),
        (expecting(3, "uint16"), file(3, "uint8", color=True)),
        (expecting(1, "float32"), file(1, "float16")),
        (expecting(5, "uint16"), file(5, "uint16")),
    ],
)
def test_what_is_accepted_becomes_what_the_model_expects(model: Preprocessing, image: ImageInfo) -> None:
    assert model.mismatch(image) is None
    pixels = model.convert(np.ones((2, 2, image.channels), image.dtype), image)
    assert pixels.shape == (2, 2, model.channels)
    assert pixels.dtype == model.dtype


@pytest.mark.parametrize(
    ("model", "image", "change"),
    [
        (3, 1, "grey becomes red, green and blue"),
        (3, 2, "grey becomes red, green and blue"),
        (1, 3, "colour becomes grey"),
        (1, 4, "colour becomes grey"),
        (3, 3, ""),
        (3, 4, ""),
        (1, 1, ""),
        (1, 2, ""),
        (5, 5, ""),
        (2, 2, ""),
    ],
)
def test_a_change_of_colours_is_said(model: int, image: int, change: str) -> None:
    expected = expecting(model, "uint8")
    info = file(image, "uint8", color=image in (3, 4), alpha=image in (2, 4))
    assert expected.mismatch(info) is None
    assert expected.channel_change(info) == change


@pytest.mark.parametrize("model", [1, 3])
def test_the_second_of_two_channels_is_not_dropped(model: int) -> None:
    mismatch = expecting(model, "uint16").mismatch(file(2, "uint16"))
    assert mismatch is not None
    assert "has 2 channels, the model was trained on" in mismatch


def test_alpha_is_dropped_and_grey_repeated() -> None:
    rgba = np.array([[[1, 2, 3, 255]]], np.uint8)
    assert expecting(3, "uint8").convert(rgba, file(4, "uint8", color=True)).tolist() == [[[1, 2, 3]]]
    grey = np.array([[[7]]], np.uint8)
    assert expecting(3, "uint8").convert(grey, file(1, "uint8")).tolist() == [[[7, 7, 7]]]


def test_depths_scale_over_their_full_range_and_back() -> None:
    deep = expecting(1, "uint16").convert(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), file(1, "uint8"))
    assert (deep.min(), deep.max()) == (0, 65535)
    back = expecting(1, "uint8").convert(deep, file(1, "uint16"))
    assert (back.ravel() == np.arange(256)).all()


@pytest.mark.parametrize(
    "statistics", [((0.0,), (1.0,)), ((0.0,) * 3, (1.0, 0.0, 1.0)), ((float("nan"),) * 3, (1.0,) * 3)]
)
def test_impossible_statistics_are_refused(statistics: tuple[tuple[float, ...], tuple[float, ...]]) -> None:
    with pytest.raises(CheckpointError):
        Preprocessing(channels=3, dtype="uint8", mean=statistics[0], std=statistics[1])


def current(channels: int, dtype: str, mean: float = 60.4, std: float = 5.0, **more: Any) -> Preprocessing:
    return Preprocessing(
        channels=channels, dtype=dtype, mean=(mean,) * channels, std=(std,) * channels, rules=CURRENT_RULES, **more
    )


def marked(channels: int, dtype: str, nodata: float | None, color: bool = False) -> ImageInfo:
    return ImageInfo(height=2, width=2, channels=channels, dtype=np.dtype(dtype), color=color, nodata=nodata)


TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float16", "float32", "float64")
PAIRS = [(kind, kind) for kind in TYPES]
PAIRS += [("uint8", "uint16"), ("uint16", "uint8"), ("float16", "float32"), ("float64", "float32")]


@pytest.mark.parametrize(("source", "target"), PAIRS)
@pytest.mark.parametrize("nodata", [0.0, 127.0, -9999.0, -3.4028234663852886e38, float("nan")])
def test_missing_pixels_become_the_mean_and_are_kept_for_writing(source: str, target: str, nodata: float) -> None:
    info, model = marked(1, source, nodata), current(1, target, uint16_white=255)
    held = nodata_value(nodata, info.dtype)
    pixels = np.array([[[60], [61]], [[62], [63]]]).astype(source)
    whole = model.convert(pixels, info)
    if held is not None:
        pixels[0, 0] = held
    found, kept = model.convert(pixels, info), model.convert_to_keep(pixels, info)
    assert found.dtype == kept.dtype == target
    np.testing.assert_array_equal(found[whole != whole[0, 0]], whole[whole != whole[0, 0]])
    rounded = 60.4 if target.startswith("float") else 60
    assert found[0, 0, 0] == (np.dtype(target).type(rounded) if held is not None else whole[0, 0, 0])
    written = marked(1, target, model.kept_nodata(info))
    np.testing.assert_array_equal(model.convert(kept, written), found)
    if source == target:
        np.testing.assert_array_equal(kept, pixels)
        assert written.nodata == pytest.approx(nodata, nan_ok=True)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_become_the_mean(bad: float) -> None:
    pixels = np.array([[[bad, 59], [61, 60]]], np.float32)
    found = current(2, "float32").convert(pixels, file(2, "float32"))
    np.testing.assert_allclose(found, [[[60.4, 59], [61, 60]]], rtol=1e-6)
    assert np.isnan(expecting(2, "float32").convert(pixels * np.nan, file(2, "float32"))).all(), "as earlier versions"


def test_a_peak_beyond_a_narrower_float_is_a_peak() -> None:
    model, pixels = current(1, "float16"), np.array([[[1e30], [60], [-1e30]]])
    converted, missing = model.convert_marked(pixels, file(1, "float64"))
    assert missing is None
    assert converted.ravel().tolist() == [65504, 60, -65504]
    assert np.isnan(model.convert_marked(pixels * np.nan, file(1, "float64"))[0]).all()
    found = model.convert(pixels, file(1, "float64")).ravel()
    assert (
        found.tolist()
        == model.convert(np.array([[[65504], [60], [-65504]]], np.float16), file(1, "float16")).ravel().tolist()
    )


def test_missing_pixels_follow_their_channels() -> None:
    grey = current(3, "uint8").convert(np.array([[[0], [50]]], np.uint8), marked(1, "uint8", 0))
    assert grey.tolist() == [[[60, 60, 60], [50, 50, 50]]]
    color = np.array([[[0, 90, 90], [90, 90, 90]]], np.uint8)
    assert current(1, "uint8").convert(color, marked(3, "uint8", 0, color=True)).tolist() == [[[60], [90]]]
    alpha = np.array([[[0, 90, 90, 255]]], np.uint8)
    assert current(3, "uint8").convert(alpha, marked(4, "uint8", 0, color=True)).tolist() == [[[60, 90, 90]]]


def test_rules_of_earlier_versions_take_nodata_for_a_value() -> None:
    pixels = np.array([[[-9999], [3]]], np.float32)
    np.testing.assert_array_equal(expecting(1, "float32").convert(pixels, marked(1, "float32", -9999)), pixels)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint16", "int16"])
def test_a_hot_pixel_is_clipped_far_off(dtype: str) -> None:
    most = np.finfo(dtype).max if dtype.startswith("float") else np.iinfo(dtype).max
    pixels = np.array([[[most], [60], [300]]], dtype)
    found = current(1, dtype).convert(pixels, file(1, dtype)).ravel()
    assert found[0] == pytest.approx(60.4 + 500, abs=1)
    assert found[1:].tolist() == [60, 300]
    eight = np.array([[[255]]], np.uint8)
    assert current(1, "uint8", std=0.1).convert(eight, file(1, "uint8")).tolist() == [[[255]]]
    unbounded = current(1, dtype, std=1e30 if dtype.startswith("float") else 1e18)
    assert unbounded.convert(pixels, file(1, dtype)).max() == pytest.approx(min(float(most), 1e32 + 60), rel=1e-6)


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_files_of_8_bits_scale_to_the_recorded_white(bits: int) -> None:
    white, every = 2**bits - 1, np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    recorded = None if bits == 16 else white
    deep = current(1, "uint16", 0, 1e4, uint16_white=recorded).convert(every, file(1, "uint8"))
    assert (deep.min(), deep.max()) == (0, white)
    back = current(1, "uint8", uint16_white=recorded).convert(deep, file(1, "uint16"))
    assert (back == every).all()
    beyond = np.array([[[65535]]], np.uint16)
    assert current(1, "uint8", uint16_white=recorded).convert(beyond, file(1, "uint16")).tolist() == [[[255]]]


@pytest.mark.parametrize(
    ("dtype", "limits", "expected"),
    [
        ("uint8", (16.0, 99.0), (0.0, 255.0)),
        ("bool", (0.0, 1.0), (0.0, 1.0)),
        ("uint16", (300.0, 1500.0), (300.0, 1500.0)),
        ("uint16", (0.0, 4095.0), (0.0, 4095.0)),
        ("uint16", (900.0, 50000.0), (0.0, 65535.0)),
        ("uint16", None, (0.0, 65535.0)),
        ("int32", (-5.0, 1e9), (-5.0, 1e9)),
        ("float32", (-1e-8, 1e-8), (-1e-8, 1e-8)),
    ],
)
def test_black_and_white(dtype: str, limits: tuple[float, float] | None, expected: tuple[float, float]) -> None:
    assert current(1, dtype, limits=limits).range == expected


def test_background_is_a_share_of_the_limits_by_the_current_rules() -> None:
    assert current(1, "uint16", limits=(300.0, 1500.0)).spread == 1200
    assert current(1, "uint16").spread is None
    assert Preprocessing(channels=1, dtype="float32", mean=(0.0,), std=(1.0,), limits=(0.0, 1.0)).spread is None


@pytest.mark.parametrize(
    "entry", [{"rules": 3}, {"rules": "new"}, {"uint16_white": 0}, {"uint16_white": 70000}, {"uint16_white": 4095.5}]
)
def test_impossible_rules_are_refused(entry: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError):
        Preprocessing(**{"channels": 1, "dtype": "uint8", "mean": (0.0,), "std": (1.0,), **entry})


def test_features_and_pixels_do_not_mix() -> None:
    def described(features: bool, channels: int = 8) -> ImageInfo:
        grid = FeatureGrid() if features else None
        return ImageInfo(height=3, width=3, channels=channels, dtype=np.dtype("f4"), features=grid)

    def trained(features: bool) -> Preprocessing:
        return Preprocessing(channels=8, dtype="float32", mean=(0.0,) * 8, std=(1.0,) * 8, features=features)

    for features in (True, False):
        assert trained(features).mismatch(described(features)) is None
        assert "give files of one kind" in (trained(features).mismatch(described(not features)) or "")
    assert "extract all features with the same encoder" in (trained(True).mismatch(described(True, 9)) or "")
