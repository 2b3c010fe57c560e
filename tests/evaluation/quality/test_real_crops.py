"""Real crops come from images that have them; the advice for too few crops can be followed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.pictures import save

from fitcli.data.dataset import Sample
from fitcli.distributed.image_queue import ImageQueue
from fitcli.errors import DataError, FitError
from fitcli.evaluation.quality.crops import CropSet
from fitcli.evaluation.quality.real_crops import add_real_crops, advice_on_crop, check_crop, largest_crop
from fitcli.evaluation.quality.real_images import RealImages
from fitcli.patches.preprocessing import Preprocessing
from fitcli.patches.value_range import PixelRange
from fitcli.tasks.encoding.image_opener import ImageOpener

PIXELS = Preprocessing(channels=1, dtype="uint8", mean=(0.0,), std=(1.0,), limits=(0, 255), rules=2)
REAL = RealImages(ImageOpener(ImageQueue(), PIXELS), PIXELS, seed=1)


def sets(crop: int, wanted: int) -> list[CropSet]:
    return [CropSet(f"real {n}", (crop, crop), PixelRange(0, 255, np.dtype(np.uint8)), wanted) for n in range(2)]


def pictures(folder: Path, sides: list[int], missing: bool = False) -> list[Sample]:
    samples = []
    for number, side in enumerate(sides):
        pixels = np.full((abs(side), abs(side), 1), 1 + number, np.uint8)
        pixels[0, 0] *= side > 0
        samples.append(Sample(save(folder / f"{number}.tif", pixels, nodata=0 if missing else None), 0))
    return samples


@pytest.mark.parametrize(
    ("sides", "missing"),
    [([8, 32, 8, 32, 8, 32, 8, 32], False), ([-32, 32, -32, 32, -32, 32, -32, 32], True), ([32, 32, 32, 32], False)],
)
def test_images_without_a_crop_are_replaced(tmp_path: Path, sides: list[int], missing: bool) -> None:
    found = sets(32, 2)
    add_real_crops(pictures(tmp_path, sides, missing), found, REAL)
    assert [len(each) for each in found] == [2, 2]
    # The fitting images have even values from 2 to 8.
    values = [round(float(thumb.max()) * 255) for each in found for thumb in each.thumbs]
    assert sorted(values) == ([2, 4, 6, 8] if len(sides) == 8 else [1, 2, 3, 4]), "no image is in both sets"


def test_a_single_image_is_shared_out(tmp_path: Path) -> None:
    found = sets(16, 8)
    add_real_crops(pictures(tmp_path, [64]), found, REAL)
    assert [len(each) for each in found] == [8, 8]


@pytest.mark.parametrize(("crop", "advice"), [(40, "give a smaller --crop, or more or larger images"),
                                              (16, "give more or larger images")])  # fmt: skip
def test_too_few_crops(tmp_path: Path, crop: int, advice: str) -> None:
    with pytest.raises(DataError, match=f"the real images have 0 crops of {crop} x {crop} pixels .*; {advice}"):
        add_real_crops(pictures(tmp_path, [8, 8, 8, 8]), sets(crop, 2), REAL)


def test_sizes_of_crops() -> None:
    assert largest_crop([(64, 80), (40, 90)], (50, 70), 1) == (40, 70)
    assert largest_crop([(64, 80), (42, 90)], (50, 70), 4) == (40, 68)
    assert largest_crop([(64, 80), (9, 12)], (50, 70), 1) == (16, 16)
    with pytest.raises(FitError, match="give a larger --sample-size or larger images"):
        largest_crop([(64, 80), (9, 12)], (64, 64), 32)
    check_crop(32, (32, 64))
    with pytest.raises(FitError, match="--crop 33: generated images have 64 x 32 pixels; give at most 32"):
        check_crop(33, (32, 64))
    assert advice_on_crop((16, 40)) == ""
