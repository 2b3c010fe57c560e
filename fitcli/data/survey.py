"""What the training images have in common: channels, dtype, mean and standard deviation, microns per pixel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fitcli.data.dataset import Dataset, Sample, spread
from fitcli.errors import DataError, ImageError
from fitcli.images.base import ImageInfo, ImageReader
from fitcli.images.open import open_image
from fitcli.images.window import Window
from fitcli.patches.preprocessing import WHITE, Preprocessing

LOOKED_AT = 64
"""Images, evenly spaced over the training images, whose pixels are read for mean and standard deviation."""

SIDE = 512
"""Pixels per side of the window that is read of each, at full resolution: smaller levels hide fine detail."""

HEADERS = 2000
"""Images whose headers are read before training starts; of larger data sets an even selection."""


class Survey(NamedTuple):
    """What is known of the images of a data set before training.

    Attributes:
        preprocessing: What a model trained on them expects of pixels.
        sizes: (height, width) of each image that was looked at.
        smallest: The image with the shortest side, and its (height, width).
    """

    preprocessing: Preprocessing
    sizes: tuple[tuple[int, int], ...]
    smallest: tuple[Path, tuple[int, int]]

    def typical_size(self, window: int | None) -> tuple[int, int]:
        """(height, width) that a model sees: the median of the images, or of windows of so many pixels per side."""
        rows, columns = ([min(size[axis], window or size[axis]) for size in self.sizes] for axis in (0, 1))
        return round(median(rows)), round(median(columns))


class _Moments(NamedTuple):
    """Per channel, and the range over all channels; None where no pixel is finite."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    limits: tuple[float, float] | None


def inspect(dataset: Dataset, seed: int, most_bad: int = 0) -> Survey:
    """Open the images of a data set and decide what a model trained on it expects of pixels.

    The commonest number of channels and dtype win; images that cannot be converted to them are an error.

    Args:
        dataset: The images.
        seed: Of the windows that are looked at.
        most_bad: Images that cannot be read or do not fit the others, and are passed over.

    Raises:
        DataError: Some image cannot be opened or does not fit the others. Names the first and counts the rest.
    """
    samples = spread(dataset.train + dataset.validation, HEADERS)
    with ThreadPoolExecutor(8, "inspect") as pool:
        looked = list(zip(samples, pool.map(_info, samples), strict=True))
    infos = [(sample, info) for sample, info in looked if isinstance(info, ImageInfo)]
    broken = {sample.path: str(info) for sample, info in looked if isinstance(info, ImageError)}
    _refuse(broken, "cannot be read", min(most_bad, len(looked) - 1))
    channels, dtype = Counter((info.channels, info.dtype.name) for _, info in infos).most_common(1)[0][0]
    wanted = Preprocessing(channels=channels, dtype=dtype, mean=(0.0,) * channels, std=(1.0,) * channels)
    misfits = {sample.path: f"{sample.path}: {reason}" for sample, info in infos if (reason := wanted.mismatch(info))}
    _refuse(misfits, "differ from the others", most_bad - len(broken))
    infos = [(sample, info) for sample, info in infos if sample.path not in misfits]
    moments = _moments(dataset.train, wanted, seed, broken | misfits, most_bad)
    scales = {info.mpp for _, info in infos if info.mpp is not None}
    preprocessing = Preprocessing(
        channels=channels,
        dtype=dtype,
        mean=moments.mean,
        std=moments.std,
        mpp=scales.pop() if len(scales) == 1 else None,
        limits=None if dtype in WHITE else moments.limits,
    )
    least = min(infos, key=lambda pair: min(pair[1].size))
    return Survey(preprocessing, tuple(info.size for _, info in infos), (least[0].path, least[1].size))


def image_sizes(dataset: Dataset) -> list[tuple[int, int]]:
    """(height, width) of the images of a data set that can be opened."""
    with ThreadPoolExecutor(8, "inspect") as pool:
        infos = pool.map(_info, spread(dataset.train, HEADERS))
        return [info.size for info in infos if isinstance(info, ImageInfo)]


def _info(sample: Sample) -> ImageInfo | ImageError:
    try:
        with open_image(sample.path) as image:
            return image.info
    except ImageError as error:
        return error


def _refuse(problems: Mapping[Path, str], what: str, most: int) -> None:
    if len(problems) > most:
        more = f" (and {len(problems) - 1} more images that {what})" if len(problems) > 1 else ""
        raise DataError(f"{next(iter(problems.values()))}{more}")


def _moments(
    samples: Sequence[Sample], wanted: Preprocessing, seed: int, bad: Mapping[Path, str], most_bad: int
) -> _Moments:
    """Of one random window of each of some images that are not bad; NaN is left out."""
    chosen = spread([sample for sample in samples if sample.path not in bad], LOOKED_AT)
    if not chosen:
        raise DataError(f"{next(iter(bad.values()))}; no other training image can be used either")

    def sums(number: int) -> NDArray[np.float64] | ImageError:
        try:
            with open_image(chosen[number].path) as image:
                pixels = wanted.convert(image.read(_window(image, [seed, 3, number])), image.info)
        except ImageError as error:
            return error
        values = pixels.reshape(-1, wanted.channels).astype(np.float64)
        finite = np.isfinite(values)
        least, most = np.where(finite, values, np.inf).min(0), np.where(finite, values, -np.inf).max(0)
        values = np.where(finite, values, 0.0)
        return np.stack([finite.sum(0), values.sum(0), (values**2).sum(0), least, most])

    with ThreadPoolExecutor(2, "moments") as pool:
        looked = list(zip(chosen, pool.map(sums, range(len(chosen))), strict=True))
    broken = {sample.path: str(values) for sample, values in looked if isinstance(values, ImageError)}
    _refuse({**bad, **broken} if broken else {}, "cannot be read", min(most_bad, len(bad) + len(looked) - 1))
    found = np.stack([values for _, values in looked if not isinstance(values, ImageError)])
    count, total, squares = np.sum(found[:, :3], axis=0)
    low, high = float(found[:, 3].min()), float(found[:, 4].max())
    mean = total / np.maximum(count, 1)
    # A channel that never varies still has to be divided by something.
    std = np.sqrt(np.maximum(squares / np.maximum(count, 1) - mean**2, 0))
    limits = (low, high if high > low else low + 1) if low <= high else None
    return _Moments(tuple(mean.tolist()), tuple(np.where(std > 1e-6, std, 1.0).tolist()), limits)


def _window(image: ImageReader, seed: list[int]) -> Window:
    rng = np.random.default_rng(seed)
    top, left = (int(rng.integers(max(0, side - SIDE) + 1)) for side in image.info.size)
    return Window(top, left, SIDE, SIDE).clip(*image.info.size)
