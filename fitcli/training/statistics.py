"""What the training images have in common: channels, dtype, mean and standard deviation, microns per pixel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from fitcli.errors import DataError, ImageError
from fitcli.images.base import ImageInfo, ImageReader
from fitcli.images.open import open_image
from fitcli.preprocessing import Preprocessing
from fitcli.training.dataset import Dataset, Sample
from fitcli.window import Window

LOOKED_AT = 64
"""Images, evenly spaced over the training images, whose pixels are read for mean and standard deviation."""

SIDE = 512
"""Pixels per side of the window that is read of each, at full resolution: smaller levels hide fine detail."""

HEADERS = 2000
"""Images whose headers are read before training starts; of larger data sets an even selection."""


def inspect(dataset: Dataset, seed: int) -> Preprocessing:
    """Open the images of a data set and decide what a model trained on it expects of pixels.

    The commonest number of channels and dtype win; images that cannot be converted to them are an error.

    Raises:
        DataError: Some image cannot be opened or does not fit the others. Names the first and counts the rest.
    """
    samples = _spread(dataset.train + dataset.validation, HEADERS)
    with ThreadPoolExecutor(8, "inspect") as pool:
        looked = list(zip(samples, pool.map(_info, samples), strict=True))
    infos = [(sample, info) for sample, info in looked if isinstance(info, ImageInfo)]
    broken = [str(info) for _, info in looked if isinstance(info, ImageError)]
    _refuse(broken, "cannot be read")
    channels, dtype = Counter((info.channels, info.dtype.name) for _, info in infos).most_common(1)[0][0]
    wanted = Preprocessing(channels=channels, dtype=dtype, mean=(0.0,) * channels, std=(1.0,) * channels)
    misfits = [f"{sample.path}: {reason}" for sample, info in infos if (reason := wanted.mismatch(info))]
    _refuse(misfits, "differ from the others")
    mean, std = _moments(dataset.train, wanted, seed)
    scales = {info.mpp for _, info in infos if info.mpp is not None}
    return Preprocessing(
        channels=channels, dtype=dtype, mean=mean, std=std, mpp=scales.pop() if len(scales) == 1 else None
    )


def _info(sample: Sample) -> ImageInfo | ImageError:
    try:
        with open_image(sample.path) as image:
            return image.info
    except ImageError as error:
        return error


def _refuse(problems: Sequence[str], what: str) -> None:
    if problems:
        more = f" (and {len(problems) - 1} more images that {what})" if len(problems) > 1 else ""
        raise DataError(f"{problems[0]}{more}")


def _moments(
    samples: Sequence[Sample], wanted: Preprocessing, seed: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel of one random window of each of some images; NaN is left out."""
    chosen = _spread(samples, LOOKED_AT)

    def sums(number: int) -> NDArray[np.float64]:
        with open_image(chosen[number].path) as image:
            pixels = wanted.convert(image.read(_window(image, [seed, 3, number])), image.info)
        values = pixels.reshape(-1, wanted.channels).astype(np.float64)
        finite = np.isfinite(values)
        values = np.where(finite, values, 0.0)
        return np.stack([finite.sum(0), values.sum(0), (values**2).sum(0)])

    with ThreadPoolExecutor(2, "moments") as pool:
        count, total, squares = np.sum(list(pool.map(sums, range(len(chosen)))), axis=0)
    mean = total / np.maximum(count, 1)
    # A channel that never varies still has to be divided by something.
    std = np.sqrt(np.maximum(squares / np.maximum(count, 1) - mean**2, 0))
    return tuple(mean.tolist()), tuple(np.where(std > 1e-6, std, 1.0).tolist())


def _window(image: ImageReader, seed: list[int]) -> Window:
    rng = np.random.default_rng(seed)
    top, left = (int(rng.integers(max(0, side - SIDE) + 1)) for side in image.info.size)
    return Window(top, left, SIDE, SIDE).clip(*image.info.size)


def _spread(samples: Sequence[Sample], most: int) -> list[Sample]:
    """At most `most` of the samples, evenly spaced."""
    count = min(most, len(samples))
    return [samples[number * len(samples) // count] for number in range(count)]
