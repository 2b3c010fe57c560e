"""Pixels of other kinds are converted to those of the training images, or refused."""

from __future__ import annotations

import numpy as np
import pytest

from fitcli.errors import CheckpointError
from fitcli.images.base import ImageInfo
from fitcli.patches.preprocessing import Preprocessing


def expecting(channels: int, dtype: str) -> Preprocessing:
    return Preprocessing(channels=channels, dtype=dtype, mean=(0.0,) * channels, std=(1.0,) * channels)


def file(channels: int, dtype: str, color: bool = False) -> ImageInfo:
    return ImageInfo(height=2, width=2, channels=channels, dtype=np.dtype(dtype), color=color)


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
        (expecting(1, "uint8"), file(2, "uint8")),
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
