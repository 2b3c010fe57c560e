"""Hashes some pixels and all anchors of a data set: processes compare them, as equal names do not mean equal images."""

from __future__ import annotations

import hashlib
import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from fitcli.data.dataset import Dataset, Sample, spread
from fitcli.errors import ImageError
from fitcli.images.read_as import AS_STORED, ReadAs, open_as
from fitcli.images.window import Window

SAMPLED_IMAGES = 16
"""Number of images, evenly spaced, of which a window is read."""

SIDE = 256
"""Side of the window, in pixels."""

MOST_VALUES = SIDE * SIDE * 32
"""Most values that are read of it: images of many channels have smaller windows."""


def pixel_digests(dataset: Dataset, seed: int, how: ReadAs = AS_STORED) -> dict[str, str]:
    """Return a short hash of a window of some images, "unreadable" for one that cannot be read.

    Args:
        dataset: The images.
        seed: Seed of the positions of the windows.
        how: Level, scale and planes that are read of each image.

    Returns:
        Hashes by folder and name of the file; files of one name in several such folders share an entry.
    """
    samples = spread(dataset.train + dataset.validation, SAMPLED_IMAGES)
    with ThreadPoolExecutor(2, "pixels") as pool:
        digests = pool.map(lambda number: _digest(samples[number], [seed, 6, number], how), range(len(samples)))
        by_name: dict[str, str] = {}
        for sample, digest in zip(samples, digests, strict=True):
            name = "/".join(sample.path.parts[-2:])
            by_name[name] = by_name.get(name, "") + digest
        return by_name


def anchor_digest(dataset: Dataset) -> str:
    """Return a short hash of the anchors of the training images."""
    result = hashlib.sha256()
    for sample in dataset.train:
        result.update(f"{[len(positions) for positions in sample.anchors]}\n".encode())
        for positions in sample.anchors:
            result.update(np.ascontiguousarray(positions).data)
    return result.hexdigest()[:16]


def _digest(sample: Sample, seed: list[int], how: ReadAs) -> str:
    rng = np.random.default_rng(seed)
    try:
        with open_as(sample.path, how) as image:
            length = min(SIDE, math.isqrt(MOST_VALUES // image.info.channels))
            top, left = (int(rng.integers(max(0, side - length) + 1)) for side in image.info.size)
            pixels = image.read(Window(top, left, length, length).clip(*image.info.size))
    except ImageError:
        return "unreadable"
    result = hashlib.sha256(f"{pixels.dtype.str} {pixels.shape}\n".encode())
    result.update(np.ascontiguousarray(pixels).data)
    return result.hexdigest()[:16]
