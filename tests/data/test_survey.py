"""The survey of a data set: what it finds against numpy, and how many unusable images it passes over."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray
from support.pictures import save
from support.small_runs import quietly, run_of, two_classes

from fitcli.data import survey
from fitcli.data.dataset import Dataset, Sample
from fitcli.data.survey import image_sizes, survey_images
from fitcli.errors import DataError, FitError
from fitcli.images.base import ImageInfo
from fitcli.images.numbers import number_text
from fitcli.images.open import create_image
from fitcli.images.read_as import ReadAs
from fitcli.images.window import Window
from fitcli.patches.preprocessing import Preprocessing
from fitcli.runs.config import with_tuples
from fitcli.training.loop import train
from fitcli.training.reports import BadImageReport, Report


def data_set(folder: Path, images: list[NDArray[Any]], validation: int = 0) -> Dataset:
    """Write images as lossless TIFF files; the last ones are for validation."""
    paths = [save(folder / f"{number}.tif", pixels, compression="deflate") for number, pixels in enumerate(images)]
    samples = tuple(Sample(path, 0) for path in paths)
    kept = len(images) - validation
    return Dataset(classes=(), train=samples[:kept], validation=samples[kept:], fingerprint="")


def noise(number: int, height: int = 20, width: int = 30, channels: int = 3) -> NDArray[np.uint8]:
    return np.random.default_rng(number).integers(0, 256, (height, width, channels), np.uint8)


def test_mean_and_deviation_of_every_channel(tmp_path: Path) -> None:
    """Of the training images alone. Images that are no larger than a window are read whole."""
    images = [noise(number) // (number + 1) for number in range(5)]
    values = np.concatenate([pixels.reshape(-1, 3).astype(np.float64) for pixels in images[:4]])
    preprocessing = survey_images(data_set(tmp_path, images, validation=1), 0).preprocessing
    assert (preprocessing.channels, preprocessing.dtype, preprocessing.limits) == (
        3,
        "uint8",
        (values.min(), values.max()),
    )
    np.testing.assert_allclose(preprocessing.mean, values.mean(0), rtol=1e-12)
    np.testing.assert_allclose(preprocessing.std, values.std(0), rtol=1e-9)


def test_nan_and_infinity_do_not_count(tmp_path: Path) -> None:
    images = [np.random.default_rng(number).normal(3, 2, (9, 9, 2)).astype(np.float32) for number in range(2)]
    images[0][:4, :, 0], images[1][2:3], images[1][5:6, :, 1] = np.nan, np.inf, -np.inf
    stacked = np.concatenate([pixels.reshape(-1, 2).astype(np.float64) for pixels in images])
    preprocessing = survey_images(data_set(tmp_path, images), 0).preprocessing
    for channel in range(2):
        finite = stacked[:, channel][np.isfinite(stacked[:, channel])]
        assert preprocessing.mean[channel] == pytest.approx(finite.mean(), rel=1e-9)
        assert preprocessing.std[channel] == pytest.approx(finite.std(), rel=1e-9)
    finite = stacked[np.isfinite(stacked)]
    assert preprocessing.limits == (finite.min(), finite.max())


def test_constant_channels_and_images_without_finite_pixels(tmp_path: Path) -> None:
    constant = np.full((5, 5, 1), 7, np.float32)
    preprocessing = survey_images(data_set(tmp_path / "constant", [constant]), 0).preprocessing
    assert (preprocessing.mean, preprocessing.std, preprocessing.limits) == ((7.0,), (1.0,), (7.0, 8.0))
    with pytest.raises(DataError, match=r"0\.tif: all pixels that were sampled .* are missing"):
        survey_images(data_set(tmp_path / "nan", [constant * np.nan]), 0)


def test_windows_of_large_images_follow_from_the_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "SIDE", 4)
    dataset = data_set(tmp_path, [noise(number) for number in range(3)])
    means = [survey_images(dataset, seed).preprocessing.mean for seed in (1, 1, 2)]
    assert means[0] == means[1] != means[2]


def test_sizes(tmp_path: Path) -> None:
    images = [noise(number, height, width) for number, (height, width) in enumerate([(9, 50), (20, 8), (30, 31)])]
    dataset = data_set(tmp_path, images, validation=1)
    result = survey_images(dataset, 0)
    assert result.sizes == ((9, 50), (20, 8), (30, 31))
    assert result.smallest == (tmp_path / "1.tif", (20, 8))
    assert (result.typical_size(None), result.typical_size(16)) == ((20, 31), (16, 16))
    assert (result.trained_sides(None), result.trained_sides(16)) == ((8, 50), (8, 16)), "those of training alone"
    (tmp_path / "0.tif").write_bytes(b"")
    assert image_sizes(dataset) == [(20, 8)], "training images that can be opened"


def test_scales_of_training_images(tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{n}.tif", noise(n), scale) for n, scale in enumerate((0.5, None, 0.25, 2.0))]
    samples = tuple(Sample(path, 0) for path in paths)
    found = survey_images(Dataset(classes=(), train=samples[:3], validation=samples[3:], fingerprint=""), 0)
    assert found.trained_scales() == (0.25, 0.5)
    assert survey_images(data_set(tmp_path / "none", [noise(0)]), 0).trained_scales() is None


@pytest.mark.parametrize(
    ("scales", "expected"), [((0.5, 0.5), 0.5), ((0.5, 0.25), None), ((None, 0.5), 0.5), ((0.5, 0.52), 0.51)]
)
def test_microns_per_pixel_count_if_the_images_agree(
    tmp_path: Path, scales: tuple[float | None, ...], expected: float | None
) -> None:
    paths = [save(tmp_path / f"{number}.tif", noise(number), mpp) for number, mpp in enumerate(scales)]
    dataset = Dataset(classes=(), train=tuple(Sample(path, 0) for path in paths), validation=(), fingerprint="")
    result = survey_images(dataset, 0)
    assert result.preprocessing.mpp == pytest.approx(expected)
    assert [scale and round(scale, 3) for scale in result.scales] == list(scales)


def test_the_most_common_kind_of_image_wins(tmp_path: Path) -> None:
    images: list[NDArray[Any]] = [noise(0), noise(1, channels=5), noise(2), noise(3)]
    dataset = data_set(tmp_path, images)
    with pytest.raises(DataError, match=r"^.*1\.tif: has 5 channels[^(]*$"):
        survey_images(dataset, 0)
    result = survey_images(dataset, 0, most_bad=1)
    assert (result.preprocessing.channels, len(result.sizes)) == (3, 3)


def test_unusable_images_are_counted_over_all_kinds(tmp_path: Path) -> None:
    """One has no header, one another kind, one has damaged pixels."""
    dataset = data_set(tmp_path, [noise(0), noise(1, channels=5), noise(2), noise(3), noise(4)])
    (tmp_path / "0.tif").write_bytes(b"")
    save(tmp_path / "3.png", noise(3))
    damaged = (tmp_path / "3.png").read_bytes()[:-60]
    (tmp_path / "3.tif").write_bytes(damaged)
    for most in (0, 1, 2):
        with pytest.raises(DataError, match=r"\.tif: "):
            survey_images(dataset, 0, most_bad=most)
    kept = np.concatenate([noise(number).reshape(-1, 3).astype(np.float64) for number in (2, 4)])
    np.testing.assert_allclose(survey_images(dataset, 0, most_bad=3).preprocessing.mean, kept.mean(0), rtol=1e-12)


def test_a_data_set_of_unusable_images_is_refused(tmp_path: Path) -> None:
    data = two_classes(tmp_path / "data")
    for path in data.rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"\(and 9 more images that cannot be read\)"):
        run_of(data, tmp_path / "run", max_bad_images=1000)


@pytest.mark.walk(1)
@pytest.mark.parametrize("damage", ["header", "pixels", "channels"])
def test_a_run_passes_over_as_many_as_it_allows(tmp_path: Path, damage: str) -> None:
    data = two_classes(tmp_path / "data")
    clean = run_of(data, tmp_path / "run")
    victim = clean.dataset.train[5].path
    if damage == "header":
        victim.write_bytes(b"")
    elif damage == "pixels":
        victim.write_bytes(victim.read_bytes()[:-60])
    else:
        victim.unlink()
        save(tmp_path / "five.tif", np.zeros((24, 24, 5), np.uint8)).rename(victim)
    with pytest.raises(FitError, match=victim.name):
        run_of(data, tmp_path / "run")
    run = run_of(data, tmp_path / "run", max_bad_images=1)
    assert run.config.preprocessing != clean.config.preprocessing, "the unusable image does not count"
    reports: list[Report] = []
    train(run, reports.append)
    assert [report.path for report in reports if isinstance(report, BadImageReport)] == [victim]
    assert train(run_of(data, tmp_path / "run", resume=True), quietly, resume=True).step == run.total_steps


@pytest.mark.walk(2)
@pytest.mark.parametrize("order", [(3, 4), (4, 3)])
@pytest.mark.parametrize("counts", [(4, 4), (1, 7), (7, 1)])
def test_rgb_and_rgba_images_are_trained_on_as_rgb(
    tmp_path: Path, order: tuple[int, int], counts: tuple[int, int]
) -> None:
    """Every image can be brought to RGB, none to RGBA, whichever are more and come first."""
    channels = [c for c, count in zip(order, counts, strict=True) for _ in range(count)]
    images = [noise(number, channels=count) for number, count in enumerate(channels)]
    assert survey_images(data_set(tmp_path, images), 0).preprocessing.channels == 3


@pytest.mark.parametrize(
    ("channels", "text"),
    [((3, 3, 1), "; grey becomes red, green and blue in 1 of 3 images"),
     ((1, 1, 3), "; colour becomes grey in 1 of 3 images"),
     ((3, 4, 3), "")],
)  # fmt: skip
def test_converted_colours_are_said(tmp_path: Path, channels: tuple[int, ...], text: str) -> None:
    images = [noise(number, channels=count) for number, count in enumerate(channels)]
    line = survey_images(data_set(tmp_path, images), 0).pixels()
    assert line.partition("255")[2] == text


def with_nodata(folder: Path, dtype: str, nodata: float, images: int = 3, mpp: float | None = None) -> Dataset:
    """Write images whose left half is missing; the rest has about the mean 60 and the deviation 5."""
    samples = []
    for number in range(images):
        pixels = np.random.default_rng(number).normal(60, 5, (24, 40, 1)).round().astype(dtype)
        pixels[:, :20] = np.array(nodata).astype(dtype)
        info = ImageInfo(height=24, width=40, channels=1, dtype=pixels.dtype, nodata=nodata, mpp=mpp)
        path = folder / f"{number}.tif"
        folder.mkdir(exist_ok=True)
        with create_image(path, info, compression="deflate") as canvas:
            canvas.write(Window(0, 0, 24, 40), pixels)
        samples.append(Sample(path, 0))
    return Dataset(classes=(), train=tuple(samples), validation=(), fingerprint="")


NODATA = [
    *((dtype, nodata) for dtype in ("float32", "float64")
      for nodata in (-9999.0, -3.4028234663852886e38, float("nan"), 0.1)),
    ("float16", -9999.0), ("uint8", 0.0), ("uint8", 255.0), ("int8", -128.0), ("uint16", 65535.0), ("uint16", 0.0),
    ("int16", -32768.0), ("int16", -9999.0), ("uint32", 4294967295.0), ("int32", -2147483648.0),
]  # fmt: skip


@pytest.mark.parametrize(("dtype", "nodata"), NODATA)
def test_nodata_does_not_count(tmp_path: Path, dtype: str, nodata: float) -> None:
    result = survey_images(with_nodata(tmp_path / "data", dtype, nodata), 0)
    found = result.preprocessing
    assert found.mean == pytest.approx((60,), abs=1)
    assert found.std == pytest.approx((5,), abs=1)
    assert found.limits is not None
    assert 30 < found.limits[0] < found.limits[1] < 90
    assert (result.missing, result.nodata) == (0.5, (number_text(nodata),))
    assert result.pixels().endswith(f"nodata {number_text(nodata)}; 50.0% of the sampled values missing")


@pytest.mark.walk
@pytest.mark.parametrize(("dtype", "nodata"), NODATA)
@pytest.mark.parametrize("mpp", [0.4, 0.9])
def test_nodata_does_not_count_at_another_scale(tmp_path: Path, dtype: str, nodata: float, mpp: float) -> None:
    result = survey_images(with_nodata(tmp_path / "data", dtype, nodata, mpp=0.6), 0, how=ReadAs(mpp=mpp))
    assert (result.sizes[0], result.preprocessing.read_mpp) == ((round(24 * 0.6 / mpp), round(40 * 0.6 / mpp)), mpp)
    assert result.preprocessing.mean == pytest.approx((60,), abs=1)
    assert result.preprocessing.limits is not None
    assert 30 < result.preprocessing.limits[0] < result.preprocessing.limits[1] < 90
    assert result.missing == pytest.approx(0.5, abs=0.02)


def test_a_window_without_pixels_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "SIDE", 8)
    result = survey_images(with_nodata(tmp_path / "data", "float32", -9999.0, images=8), 0)
    assert result.missing < 0.5
    assert result.preprocessing.mean == pytest.approx((60,), abs=1)


@pytest.mark.walk(4)
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("deep", [2, 6])
def test_files_of_8_bits_and_of_more_are_brought_together(tmp_path: Path, bits: int, deep: int) -> None:
    """uint16 files of n bits mean the same as uint8 files. All become uint16, whichever are more: no value is lost."""
    white, rng = 2**bits - 1, np.random.default_rng(0)
    shades = [rng.integers(0, 256, (20, 30, 1)).astype(np.uint8) for _ in range(8)]
    images: list[NDArray[Any]] = [*shades[deep:]]
    images += [np.rint(pixels / 255 * white).astype(np.uint16) for pixels in shades[:deep]]
    result = survey_images(data_set(tmp_path, images, validation=1), 0)
    found = result.preprocessing
    assert found.dtype == "uint16"
    assert found.uint16_white == (None if bits == 16 else white)
    assert found.limits == (0, white)
    expected = np.concatenate([pixels.ravel() for pixels in [*shades[deep:], *shades[: deep - 1]]]) / 255 * white
    assert (found.mean[0], found.std[0]) == pytest.approx((expected.mean(), expected.std()), rel=1e-2)
    assert (f"{bits} bits" in result.pixels()) == (bits < 16)


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("uint8", 7),
        ("uint8", 255),
        ("int16", -3),
        ("int64", 2**53),
        ("float32", 0.1),
        ("float64", 1234567.89012345),
        ("float64", 0.0),
    ],
)
def test_constant_images_have_no_range(tmp_path: Path, dtype: str, value: float) -> None:
    result = survey_images(arrays_of(tmp_path, [dtype] * 3, fill=value), 0)
    text = f"about {value}" if value == 2**53 else str(value) if value else "0"
    assert result.pixels() == f"pixels: 1 channel of {dtype}, all of them {text}"


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        ("float64", 1234567.89012345, 1234567.89012346),
        ("float32", 0.1, 0.3),
        ("int64", 2**62, 2**62 + 4096),
        ("uint8", 3, 250),
    ],
)
def test_ranges_keep_every_digit(tmp_path: Path, dtype: str, low: float, high: float) -> None:
    """In the line that is printed, and in config.json."""
    folder = tmp_path / "data"
    dataset = arrays_of(folder, [dtype] * 3, fill=low, other=high)
    result = survey_images(dataset, 0)
    about = "about " if low >= 2**53 else ""
    assert result.pixels() == f"pixels: 1 channel of {dtype} from {about}{low!r} to {about}{high!r}"
    stored = json.loads(json.dumps(asdict(result.preprocessing)))
    assert Preprocessing(**with_tuples(stored)) == result.preprocessing


DTYPES = ("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "int64", "float16", "float32", "float64")
PROMOTED = {
    **{frozenset(pair): pair[1] for pair in [("bool", "uint8"), ("bool", "uint16"), ("uint8", "uint16")]},
    **{frozenset(pair): pair[1] for pair in [("float16", "float32"), ("float16", "float64"), ("float32", "float64")]},
}
"""The dtype that holds the values of both, per pair; other pairs are refused."""


@pytest.mark.walk
@pytest.mark.parametrize("deep", [1, 3])
@pytest.mark.parametrize(("one", "other"), list(combinations(DTYPES, 2)))
def test_no_pair_of_types_loses_a_value(tmp_path: Path, one: str, other: str, deep: int) -> None:
    """The wider type is chosen, whichever images are more, and the ends of the range of each type stay apart."""
    dataset = arrays_of(tmp_path, [one] * deep + [other] * (4 - deep), fill=0, other=1)
    promoted = PROMOTED.get(frozenset((one, other)))
    if promoted is None:
        with pytest.raises(DataError, match="pixels, the other training images have"):
            survey_images(dataset, 0)
        return
    found = survey_images(dataset, 0).preprocessing
    assert found.dtype == promoted
    for dtype in (one, other):
        pixels = extremes(dtype)
        info = ImageInfo(height=1, width=pixels.size, channels=1, dtype=np.dtype(dtype))
        converted, missing = found.convert_marked(pixels, info)
        assert missing is None or not missing.any()
        assert np.isfinite(converted).all()
        assert len(np.unique(converted)) == pixels.size


def extremes(dtype: str) -> NDArray[Any]:
    """Both ends of the range of a type and their neighbours, which differ in the last bit: [1 n 1]."""
    kind = np.dtype(dtype)
    if kind == np.bool_:
        ends = np.array([False, True])
    elif kind.kind == "f":
        limits = np.finfo(kind)
        ends = np.array([limits.min, np.nextafter(limits.min, kind.type(0)), 0, limits.tiny, limits.max], kind)
    else:
        bounds = np.iinfo(kind)
        ends = np.array([bounds.min, bounds.min + 1, bounds.max - 1, bounds.max], kind)
    return ends.reshape(1, -1, 1)


def arrays_of(folder: Path, dtypes: list[str], fill: float = 0, other: float | None = None) -> Dataset:
    """Zarr arrays, which take every type, of two values (of one, if one is given)."""
    samples = []
    for number, dtype in enumerate(dtypes):
        odd = np.arange(600).reshape(20, 30) % 2 == 1
        pixels = np.where(odd, np.array(fill if other is None else other, dtype), np.array(fill, dtype))
        zarr.create_array(folder / f"{number}.zarr", data=pixels, dimension_names=("y", "x"))
        samples.append(Sample(folder / f"{number}.zarr", 0))
    return Dataset(classes=(), train=tuple(samples), validation=(), fingerprint="")


def test_the_depth_of_uint16_files_alone_is_recorded(tmp_path: Path) -> None:
    images = [np.random.default_rng(number).integers(300, 1500, (20, 30, 1)).astype(np.uint16) for number in range(3)]
    found = survey_images(data_set(tmp_path, images), 0).preprocessing
    assert (found.uint16_white, found.range) == (2047, found.limits)


def test_an_odd_image_is_named(tmp_path: Path) -> None:
    images: list[NDArray[Any]] = [np.random.default_rng(number).random((20, 30, 1)) for number in range(6)]
    images[4] = images[4] * 255
    result = survey_images(data_set(tmp_path, images), 0)
    assert result.preprocessing.limits == pytest.approx((0, 1), abs=0.05)
    (text,) = result.warnings
    assert text == f"{tmp_path / '4.tif'}: its pixels are far from those of the other images; check their units"
    assert survey_images(data_set(tmp_path / "others", images[:4]), 0).warnings == ()


def test_windows_of_many_channels_are_smaller() -> None:
    rng = np.random.default_rng(0)
    for channels, side in ((3, 512), (32, 512), (1024, 90), (1536, 73)):
        image = SimpleNamespace(info=ImageInfo(height=2000, width=2000, channels=channels, dtype=np.dtype("f4")))
        window = survey._window(cast(Any, image), rng)
        assert (window.height, window.width) == (side, side)
