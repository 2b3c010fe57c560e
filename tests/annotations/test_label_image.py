"""Label images as class numbers."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from support.pictures import save

from fitcli.annotations.class_table import IGNORED, ClassTable
from fitcli.annotations.label_image import LabelImage
from fitcli.errors import ImageError
from fitcli.images.base import ImageInfo
from fitcli.images.open import create_image, open_image
from fitcli.images.window import Window

TABLE = ClassTable(("background", "tumor"), (3, 1000))


def write(path: Path, values: np.ndarray, nodata: float | None = None) -> Path:
    info = ImageInfo(height=len(values), width=values.shape[1], channels=1, dtype=values.dtype, nodata=nodata)
    with create_image(path, info, resampling="nearest") as canvas:
        canvas.write(Window(0, 0, *info.size), values[:, :, None])
    return path


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return save(tmp_path / "image.png", np.zeros((40, 60, 3), np.uint8))


@pytest.mark.parametrize("dtype", ["u2", "i2", "u4", "i4", "f4", "f8"])
@pytest.mark.parametrize("suffix", [".tif", ".zarr"])
def test_class_numbers(tmp_path: Path, image: Path, dtype: str, suffix: str) -> None:
    values = np.random.default_rng(0).choice([3, 1000, 255, 9], (40, 60)).astype(dtype)
    path = write(tmp_path / f"labels{suffix}", values, nodata=9)
    with open_image(image) as shown, LabelImage(path, shown, TABLE) as labels:
        assert (labels.info.size, labels.info.channels, labels.info.dtype) == ((40, 60), 1, np.uint8)
        assert labels.info.nodata is None
        expected = np.select([values == 3, values == 1000], [0, 1], IGNORED).astype(np.uint8)[:, :, None]
        with ThreadPoolExecutor(4) as pool:
            parts = list(pool.map(lambda top: labels.read(Window(top, 0, 10, 60)), range(0, 40, 10)))
        found = np.concatenate(parts)
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, expected)
        again = pickle.loads(pickle.dumps(labels))
        np.testing.assert_array_equal(again.read(Window(5, 5, 9, 9)), expected[5:14, 5:14])
        again.close()


def test_missing_floats_are_ignored(tmp_path: Path, image: Path) -> None:
    values = np.full((40, 60), 3, np.float32)
    values[0, :5] = np.nan
    values[1, :5] = np.inf
    with open_image(image) as shown, LabelImage(write(tmp_path / "x.tif", values), shown, TABLE) as labels:
        found = labels.read(Window(0, 0, 40, 60))
    assert (found == IGNORED).sum() == 10


@pytest.mark.parametrize(
    ("value", "text"), [(4, "4 \\(6 pixels\\)"), (-1, "-1 \\(6"), (2.5, "2.5 \\(6"), (2**33, "8589")]
)
def test_unknown_values(tmp_path: Path, image: Path, value: float, text: str) -> None:
    values = np.full((40, 60), 3, np.float64 if value != int(value) or value > 2**32 else np.int32)
    values[7:9, 10:13] = value
    with open_image(image) as shown, LabelImage(write(tmp_path / "x.tif", values), shown, TABLE) as labels:
        labels.read(Window(0, 0, 7, 60))
        with pytest.raises(ImageError, match=f"x.tif: holds values that no class has: {text}"):
            labels.read(Window(0, 0, 40, 60))
