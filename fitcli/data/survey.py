"""Surveys the images of a data set before training: channels, dtype, mean, standard deviation, microns per pixel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fitcli.data.dataset import Dataset, Sample, spread
from fitcli.errors import DataError, ImageError
from fitcli.images.base import ImageInfo, ImageReader
from fitcli.images.read_as import AS_STORED, ReadAs, open_as
from fitcli.images.scale import common_scale
from fitcli.images.window import Window
from fitcli.patches.preprocessing import WHITE, Preprocessing

SAMPLED_IMAGES = 64
"""Number of training images, evenly spaced, whose pixels are read for mean and standard deviation."""

SIDE = 512
"""Side of the window that is read of each, in pixels of level 0: smaller levels average out fine detail."""

HEADERS = 2000
"""Largest number of images whose headers are read; of a larger data set, evenly spaced ones."""


class Survey(NamedTuple):
    """Properties of the images of a data set.

    Attributes:
        preprocessing: Pixel format and normalisation for a model that is trained on the images.
        sizes: (height, width) in pixels of each image whose header was read.
        smallest: File of the image with the shortest side, and its (height, width).
        scales: Microns per pixel of each image whose header was read; None if unknown.
    """

    preprocessing: Preprocessing
    sizes: tuple[tuple[int, int], ...]
    smallest: tuple[Path, tuple[int, int]]
    scales: tuple[float | None, ...] = ()

    def typical_size(self, window: int | None) -> tuple[int, int]:
        """Return the median (height, width) of the images, cropped to `window` pixels per side if it is given."""
        rows, columns = ([min(size[axis], window or size[axis]) for size in self.sizes] for axis in (0, 1))
        return round(median(rows)), round(median(columns))


class _Moments(NamedTuple):
    """Statistics of pixels.

    Attributes:
        mean, std: Mean and standard deviation of each channel.
        limits: Smallest and largest value over all channels; None if no pixel is finite.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    limits: tuple[float, float] | None


def survey_images(dataset: Dataset, seed: int, most_bad: int = 0, how: ReadAs = AS_STORED) -> Survey:
    """Read headers and some pixels of a data set, and derive the preprocessing of a model that is trained on it.

    Number of channels and dtype are those that most images can be converted to, and of these the most common. An image
    that cannot be converted to them is unusable.

    Args:
        dataset: The images.
        seed: Seed of the positions of the windows that are read.
        most_bad: Number of unusable images to pass over.
        how: What is read of each image.

    Raises:
        DataError: More images are unreadable or differ from the others. Names the first and counts the rest.
    """
    samples = spread(dataset.train + dataset.validation, HEADERS)
    with ThreadPoolExecutor(8, "inspect") as pool:
        headers = list(zip(samples, pool.map(partial(_info, how), samples), strict=True))
    infos = [(sample, info) for sample, info in headers if isinstance(info, ImageInfo)]
    broken = {sample.path: str(info) for sample, info in headers if isinstance(info, ImageError)}
    _refuse(broken, "cannot be read", min(most_bad, len(headers) - 1))
    channels, dtype = _common_pixels([info for _, info in infos])
    if dtype == "uint64":
        path = next(sample.path for sample, info in infos if info.dtype.name == dtype)
        raise DataError(f"{path}: has uint64 pixels; convert the images to integers of at most 32 bits, or to floats")
    wanted = _plain(channels, dtype)
    misfits = {sample.path: f"{sample.path}: {reason}" for sample, info in infos if (reason := wanted.mismatch(info))}
    _refuse(misfits, "differ from the others", most_bad - len(broken))
    infos = [(sample, info) for sample, info in infos if sample.path not in misfits]
    wanted = replace(wanted, read_mpp=how.mpp, read_level=how.level)
    moments = _moments(dataset.train, wanted, seed, broken | misfits, most_bad)
    scales = tuple(info.mpp for _, info in infos)
    preprocessing = Preprocessing(
        channels=channels,
        dtype=dtype,
        mean=moments.mean,
        std=moments.std,
        mpp=common_scale(scales),
        limits=None if dtype in WHITE else moments.limits,
        read_mpp=how.mpp,
        read_level=how.level,
    )
    smallest, info = min(infos, key=lambda pair: min(pair[1].size))
    return Survey(preprocessing, tuple(info.size for _, info in infos), (smallest.path, info.size), scales)


def _common_pixels(infos: Sequence[ImageInfo]) -> tuple[int, str]:
    """Return the number of channels and the dtype that most images can be converted to; of several the most common."""
    kinds = Counter((info.channels, info.dtype.name) for info in infos)

    def misfits(kind: tuple[int, str]) -> int:
        return sum(_plain(*kind).mismatch(info) is not None for info in infos)

    return min(kinds, key=lambda kind: (misfits(kind), -kinds[kind]))


def _plain(channels: int, dtype: str) -> Preprocessing:
    """A preprocessing that changes no value, to ask which images fit."""
    return Preprocessing(channels=channels, dtype=dtype, mean=(0.0,) * channels, std=(1.0,) * channels)


def image_sizes(dataset: Dataset, how: ReadAs = AS_STORED) -> list[tuple[int, int]]:
    """Return (height, width), as they are read, of the training images of a data set that can be opened."""
    with ThreadPoolExecutor(8, "inspect") as pool:
        infos = pool.map(partial(_info, how), spread(dataset.train, HEADERS))
        return [info.size for info in infos if isinstance(info, ImageInfo)]


def _info(how: ReadAs, sample: Sample) -> ImageInfo | ImageError:
    try:
        with open_as(sample.path, how) as image:
            return image.info
    except ImageError as error:
        return error


def _refuse(problems: Mapping[Path, str], what: str, most: int) -> None:
    """Raise DataError for more than `most` unusable images."""
    if len(problems) > most:
        more = f" (and {len(problems) - 1} more images that {what})" if len(problems) > 1 else ""
        raise DataError(f"{next(iter(problems.values()))}{more}")


def _moments(
    samples: Sequence[Sample], wanted: Preprocessing, seed: int, bad: Mapping[Path, str], most_bad: int
) -> _Moments:
    """Return the moments of one random window of each of some usable images, without NaN and infinity."""
    chosen = spread([sample for sample in samples if sample.path not in bad], SAMPLED_IMAGES)
    if not chosen:
        raise DataError(f"{next(iter(bad.values()))}; no other training image can be used either; give other images")

    def sums(number: int) -> NDArray[np.float64] | ImageError:
        """Return [5 channels]: count, sum and sum of squares of the finite pixels, smallest and largest."""
        try:
            with open_as(chosen[number].path, wanted.read_as) as image:
                pixels = wanted.convert(image.read(_window(image, [seed, 3, number])), image.info)
        except ImageError as error:
            return error
        values = pixels.reshape(-1, wanted.channels).astype(np.float64)
        finite = np.isfinite(values)
        least, most = np.where(finite, values, np.inf).min(0), np.where(finite, values, -np.inf).max(0)
        values = np.where(finite, values, 0.0)
        return np.stack([finite.sum(0), values.sum(0), (values**2).sum(0), least, most])

    with ThreadPoolExecutor(2, "moments") as pool:
        results = list(zip(chosen, pool.map(sums, range(len(chosen))), strict=True))
    broken = {sample.path: str(values) for sample, values in results if isinstance(values, ImageError)}
    _refuse({**bad, **broken} if broken else {}, "cannot be read", min(most_bad, len(bad) + len(results) - 1))
    stacked = np.stack([values for _, values in results if not isinstance(values, ImageError)])
    count, total, squares = np.sum(stacked[:, :3], axis=0)
    low, high = float(stacked[:, 3].min()), float(stacked[:, 4].max())
    mean = total / np.maximum(count, 1)
    std = np.sqrt(np.maximum(squares / np.maximum(count, 1) - mean**2, 0))
    # A constant channel gets 1, because preprocessing divides by it.
    std = np.where(std > 1e-6, std, 1.0)
    limits = (low, high if high > low else low + 1) if low <= high else None
    return _Moments(tuple(mean.tolist()), tuple(std.tolist()), limits)


def _window(image: ImageReader, seed: list[int]) -> Window:
    rng = np.random.default_rng(seed)
    top, left = (int(rng.integers(max(0, side - SIDE) + 1)) for side in image.info.size)
    return Window(top, left, SIDE, SIDE).clip(*image.info.size)
