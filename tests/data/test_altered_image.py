"""Every window of a changed image is a part of the whole, for every kind, dtype and number of channels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fitcli.data.altered_image import PIECE, AlteredImage
from fitcli.data.blur import blurred, reach
from fitcli.data.image_change import Change
from fitcli.errors import ImageError
from fitcli.images.array_image import ArrayReader
from fitcli.images.window import Window
from fitcli.patches.preprocessing import CURRENT_RULES, Preprocessing

CHANGES = {
    "hue": Change(hue=0.06, saturation=1.2),
    "stain": Change(stain_gains=(1.2, 0.8), stain_shifts=(0.05, -0.05)),
    "blur": Change(blur=1.3),
    "noise": Change(noise=0.3, seed=11),
    "drop": Change(dropped=(1,)),
}
ALL = Change(hue=0.06, saturation=1.2, stain_gains=(1.2, 0.8), stain_shifts=(0.05, -0.05), blur=1.3, noise=0.3, seed=11)
SIZE = (PIECE + 40, PIECE + 70)
WINDOWS = [Window(0, 0, 1, 1), Window(250, 250, 13, 17), Window(100, 0, 64, SIZE[1]), Window(SIZE[0] - 9, 30, 9, 300)]
DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float16", "float32", "float64", "bool")


def image_of(
    dtype: str, channels: int, nodata: float | None = None, size: tuple[int, int] = SIZE
) -> tuple[ArrayReader, Preprocessing]:
    pixels = np.random.default_rng(0).uniform(0, 100, (*size, channels))
    stored = pixels > 50 if dtype == "bool" else pixels.astype(dtype)
    mean, std = (0.5, 0.5) if dtype == "bool" else (50.0, 29.0)
    preprocessing = Preprocessing(
        channels=channels, dtype=dtype, mean=(mean,) * channels, std=(std,) * channels, limits=(0.0, 100.0),
        rules=CURRENT_RULES,
    )  # fmt: skip
    return ArrayReader(stored, nodata=nodata), preprocessing


def changes_for(channels: int) -> dict[str, Change]:
    per_channel = {"colour": Change(gains=tuple(np.linspace(0.8, 1.2, channels)), shifts=(0.1,) * channels)}
    needed = {"hue": channels == 3, "stain": channels == 3, "drop": channels > 1}
    return {name: change for name, change in CHANGES.items() if needed.get(name, True)} | per_channel


@pytest.mark.walk
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 13])
@pytest.mark.parametrize("dtype", DTYPES)
def test_windows_fit_together(dtype: str, channels: int) -> None:
    image, preprocessing = image_of(dtype, channels)
    for name, change in changes_for(channels).items():
        changed = AlteredImage(image, change, preprocessing)
        whole = changed.read(Window(0, 0, *SIZE))
        assert whole.dtype == dtype
        # True and false need more than a light change.
        assert dtype == "bool" or not np.array_equal(whole, image.read(Window(0, 0, *SIZE))), name
        for window in WINDOWS:
            rows, columns = window.slices()
            assert np.array_equal(changed.read(window), whole[rows, columns]), name


@pytest.mark.parametrize(("dtype", "nodata"), [("uint8", 7), ("uint16", 0), ("float32", np.nan), ("float32", -9999)])
def test_missing_pixels_stay_missing_and_change_no_others(dtype: str, nodata: float) -> None:
    image, preprocessing = image_of(dtype, 3, nodata)
    pixels = image.read(Window(0, 0, *SIZE))
    marked = np.zeros(SIZE, bool)
    marked[30:60, 250:280] = True
    other = pixels.copy()
    pixels[marked], other[marked] = nodata, nodata
    image = ArrayReader(pixels, nodata=nodata)
    for change in (*CHANGES.values(), ALL):
        changed = AlteredImage(image, change, preprocessing)
        whole = changed.read(Window(0, 0, *SIZE))
        converted, missing = preprocessing.convert_filled(whole, changed.info)
        before = preprocessing.convert_filled(pixels, image.info)[1]
        assert missing is not None
        assert before is not None
        assert np.array_equal(missing, before), "no other value becomes nodata"
        assert np.isfinite(converted.astype(np.float64)).all()
        for window in WINDOWS:
            rows, columns = window.slices()
            assert np.array_equal(changed.read(window), whole[rows, columns], equal_nan=dtype == "float32")


def test_all_kinds_together_are_one_after_the_other() -> None:
    """The slow way: the whole image at once, in floats, with its edge repeated for the blur."""
    from fitcli.data.color_change import hue_matrix
    from fitcli.data.pixel_noise import pixel_noise
    from fitcli.data.stain_change import restained

    image, preprocessing = image_of("uint8", 3)
    pixels = image.read(Window(0, 0, *SIZE)).astype(np.float64)
    margin = reach(ALL.blur)
    padded = np.pad(pixels, ((margin, margin), (margin, margin), (0, 0)), mode="edge")
    planes = blurred(np.moveaxis(padded, -1, 0), None, ALL.blur)
    planes = restained(planes, np.array(ALL.stain_gains), np.array(ALL.stain_shifts), (0.0, 255.0))
    planes = np.einsum("kc,chw->khw", hue_matrix(ALL.hue, ALL.saturation), planes)
    planes = planes + pixel_noise(ALL.seed, Window(0, 0, *SIZE), 3) * ALL.noise * 29.0
    expected = np.moveaxis(planes, 0, -1).clip(0, 255)
    found = AlteredImage(image, ALL, preprocessing).read(Window(0, 0, *SIZE))
    assert np.abs(found - expected).max() < 0.51


def test_files_of_another_kind_are_converted_first() -> None:
    grey = np.random.default_rng(0).integers(0, 2**16, (30, 40, 1), np.uint16)
    preprocessing = Preprocessing(channels=3, dtype="uint8", mean=(99.0,) * 3, std=(9.0,) * 3, rules=CURRENT_RULES)
    changed = AlteredImage(ArrayReader(grey), Change(dropped=(2,)), preprocessing).read(Window(0, 0, 30, 40))
    expected = preprocessing.convert(grey, ArrayReader(grey).info)
    assert np.array_equal(changed[..., :2], expected[..., :2])
    assert (changed[..., 2] == 99).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 90), (3, 2)])
def test_images_smaller_than_the_margin(size: tuple[int, int]) -> None:
    image, preprocessing = image_of("uint8", 3, size=size)
    whole = AlteredImage(image, ALL, preprocessing).read(Window(0, 0, *size))
    assert whole.shape == (*size, 3)


def test_its_only_level_is_0() -> None:
    image, preprocessing = image_of("uint8", 3, size=(8, 8))
    changed: Any = AlteredImage(image, ALL, preprocessing)
    assert changed.read(Window(9, 9, 5, 5)).shape[:2] in ((0, 0), (0, 5), (5, 0))
    with pytest.raises(ImageError, match="has no level 1"):
        changed.read(Window(0, 0, 2, 2), 1)
    changed.close()
    assert image.read(Window(0, 0, 1, 1)).shape == (1, 1, 3), "the image belongs to the caller"
