"""Measures how far the training images of an enlarging run are from their smaller versions."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fitcli.data.dataset import Dataset, spread
from fitcli.errors import DataError, ImageError
from fitcli.images.read_as import open_as
from fitcli.images.window import Window
from fitcli.patches.preprocessing import Preprocessing
from fitcli.patches.resampling import enlarge
from fitcli.tasks.diffusion.pixel_source import image_source
from fitcli.tasks.diffusion.smaller_image import read_smaller

MEASURED, SIDE = 32, 256
"""Number of training images, evenly spread over all, and (height, width) of the part in their middle that is measured.
"""

LEAST = 1e-3
"""Least deviation: images that their smaller versions describe to the bit would otherwise have none."""


def measure_deviation(dataset: Dataset, preprocessing: Preprocessing, factor: int) -> float:
    """Return the standard deviation of images from their smaller versions enlarged, with the range [-1, 1].

    Raises:
        DataError: None of the measured images can be read, or none is as large as a pixel of the smaller version.
    """
    sums, count, last = 0.0, 0, Path()
    for sample in spread(dataset.train, MEASURED):
        last = sample.path
        try:
            with open_as(sample.path, preprocessing.read_as) as image:
                height, width = (min(side, SIDE) // factor * factor for side in image.info.size)
                if not height or not width:
                    continue
                top, left = ((a - b) // 2 for a, b in zip(image.info.size, (height, width), strict=True))
                read = image_source(image, preprocessing, 1.0).read
                window = Window(top, left, height, width)
                pixels, smaller = read(window), read_smaller(read, window, factor)
        except ImageError:
            # The training itself reports and replaces unreadable images.
            continue
        size = smaller.shape[:2]
        whole = Window(0, 0, height, width)
        enlarged = enlarge(partial(_crop, smaller), (size[0], size[1]), (height, width), whole)
        sums += float(np.square(pixels - enlarged, dtype=np.float64).sum())
        count += pixels.size
    if not count:
        raise DataError(
            f"{last}: has no {factor} x {factor} pixels to shrink for --enlarge {factor}; give larger images"
        )
    return max(LEAST, math.sqrt(sums / count))


def _crop(pixels: NDArray[np.float32], window: Window) -> NDArray[np.float32]:
    return pixels[window.slices()]
