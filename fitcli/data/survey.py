"""Surveys the images of a data set before training: size, microns per pixel, and the statistics of some pixels."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from fitcli.data.dataset import Dataset, Sample, spread
from fitcli.data.patch_sizes import usual_patch_size
from fitcli.data.pixel_statistics import PixelStatistics, WindowStatistics, merge_statistics, window_statistics
from fitcli.errors import DataError, ImageError
from fitcli.files.wording import counted
from fitcli.images.base import ImageInfo, ImageReader
from fitcli.images.numbers import number_text, value_text
from fitcli.images.read_as import AS_STORED, ReadAs, open_as
from fitcli.images.scale import common_scale
from fitcli.images.window import Window
from fitcli.patches.preprocessing import CURRENT_RULES, Preprocessing

SAMPLED_IMAGES = 64
"""Number of training images, evenly spaced, whose pixels are read for mean and standard deviation."""

SIDE = 512
"""Side of the window that is read of each, in pixels of level 0: smaller levels average out fine detail."""

MOST_VALUES = SIDE * SIDE * 32
"""Largest number of values of such a window: images of many channels have smaller windows."""

WINDOWS = 4
"""Number of windows of an image that are tried until one holds pixels that are not missing."""

HEADERS = 2000
"""Largest number of images whose headers are read; of a larger data set, evenly spaced ones."""


class Survey(NamedTuple):
    """Properties of the images of a data set.

    Attributes:
        preprocessing: Pixel format and normalisation for a model that is trained on the images.
        sizes: (height, width) in pixels of each image whose header was read.
        smallest: File of the image with the shortest side, and its (height, width).
        scales: Microns per pixel of each image whose header was read; None if unknown.
        nodata: Nodata values of the images, as text.
        missing: Share of the values that were read that are missing.
        odd: Images whose pixels lie so far from those of the others that they do not count for the statistics.
        recolored: For each conversion of colours (`Preprocessing.channel_change`), the number of images.
        trained: Whether each image whose header was read is for training; the others are for validation.
        patches: Warnings of features of patches of other sizes, as far as the files let one guess.
    """

    preprocessing: Preprocessing
    sizes: tuple[tuple[int, int], ...]
    smallest: tuple[Path, tuple[int, int]]
    scales: tuple[float | None, ...] = ()
    nodata: tuple[str, ...] = ()
    missing: float = 0.0
    odd: tuple[Path, ...] = ()
    recolored: tuple[tuple[str, int], ...] = ()
    trained: tuple[bool, ...] = ()
    patches: tuple[str, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """Lines for the user about images that do not go with the others."""
        if not self.odd:
            return self.patches
        more = f" (and {counted(len(self.odd) - 1, 'more image')})" if len(self.odd) > 1 else ""
        text = f"{self.odd[0]}: its pixels are far from those of the other images{more}; check their units"
        return (text, *self.patches)

    def pixels(self) -> str:
        """Return one line that says how pixels were understood."""
        parts = [describe_pixels(self.preprocessing)]
        parts += [f"{change} in {count} of {counted(len(self.sizes), 'image')}" for change, count in self.recolored]
        if self.nodata:
            parts.append(f"nodata {', '.join(self.nodata[:3])}{', ...' if len(self.nodata) > 3 else ''}")
        if self.nodata or self.missing:
            parts.append(f"{self.missing:.1%} of the sampled values missing")
        return "; ".join(parts)

    def model_changes(self, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """Return what replaces values of the preset of an encoder: the chosen values.

        Patches of features have a side of 1 unless another one is chosen: their places are patches already.
        """
        return {**({"patch": 1} if self.preprocessing.features else {}), **chosen}

    def trained_sides(self, window: int | None) -> tuple[int, int] | None:
        """Return the (shortest, longest) side of the training images, cropped to `window` pixels if it is given."""
        chosen = [size for size, trained in zip(self.sizes, self.trained, strict=False) if trained]
        sides = [min(side, window or side) for size in chosen for side in size]
        return (min(sides), max(sides)) if sides else None

    def trained_scales(self) -> tuple[float, float] | None:
        """Return the (least, greatest) microns per pixel of the training images; None if none is known."""
        each = zip(self.scales, self.trained, strict=False)
        known = [scale for scale, trained in each if trained and scale is not None]
        return (min(known), max(known)) if known else None

    def typical_size(self, window: int | None) -> tuple[int, int]:
        """Return the median (height, width) of the images, cropped to `window` pixels per side if it is given."""
        rows, columns = ([min(size[axis], window or size[axis]) for size in self.sizes] for axis in (0, 1))
        return round(median(rows)), round(median(columns))


def describe_pixels(preprocessing: Preprocessing) -> str:
    """Return one line on the channels, the dtype and the range of the pixels of a model."""
    channels, limits = preprocessing.channels, preprocessing.limits
    parts = [f"pixels: {counted(channels, 'channel')} of {preprocessing.dtype}"]
    if preprocessing.features:
        parts = [f"features: {channels} values of {preprocessing.dtype} at each place"]
    if limits is not None:
        low, high = (value_text(limit, np.dtype(preprocessing.dtype)) for limit in limits)
        # If all pixels are equal, the upper limit is no pixel: limits differ in every config.
        constant = all(mean == limits[0] for mean in preprocessing.mean)
        parts.append(f", all of them {low}" if constant else f" from {low} to {high}")
    if preprocessing.uint16_white is not None:
        bits = f"{preprocessing.uint16_white.bit_length()} bits"
        parts.append(f" ({bits})" if preprocessing.dtype == "uint16" else f"; files of uint16 hold {bits}")
    return "".join(parts)


def survey_images(dataset: Dataset, seed: int, most_bad: int = 0, how: ReadAs = AS_STORED) -> Survey:
    """Read headers and some pixels of a data set, and derive the preprocessing of a model that is trained on it.

    Number of channels and dtype are those that most images can be converted to; see `_common_pixels`. An image that
    cannot be converted to them is unusable.

    Args:
        dataset: The images.
        seed: Seed of the positions of the windows that are read.
        most_bad: Number of unusable images to pass over.
        how: Level or scale at which each image is read.

    Raises:
        DataError: More images are unreadable or differ from the others. Names the first and counts the rest.
    """
    samples = spread(dataset.train + dataset.validation, HEADERS)
    with ThreadPoolExecutor(8, "inspect") as pool:
        headers = list(zip(samples, pool.map(partial(_info, how), samples), strict=True))
    infos = [(sample, info) for sample, info in headers if isinstance(info, ImageInfo)]
    broken = {sample.path: str(info) for sample, info in headers if isinstance(info, ImageError)}
    _refuse(broken, "that cannot be read", min(most_bad, len(headers) - 1))
    channels, dtype, features = _common_pixels([info for _, info in infos])
    if dtype == "uint64":
        path = next(sample.path for sample, info in infos if info.dtype.name == dtype)
        raise DataError(f"{path}: has uint64 pixels; convert the images to integers of at most 32 bits, or to floats")
    wanted = _plain(channels, dtype, features)
    misfits = {
        sample.path: f"{sample.path}: {reason}"
        for sample, info in infos
        if (reason := wanted.mismatch(info, training=True))
    }
    usual = usual_patch_size((sample.path, info) for sample, info in infos if sample.path not in misfits)
    if usual is not None:
        wanted = replace(wanted, trained_patch=usual.size)
        misfits |= usual.misfits
    _refuse(misfits, "unlike the others", most_bad - len(broken))
    infos = [(sample, info) for sample, info in infos if sample.path not in misfits]
    wanted = wanted.reading(how)
    names = {info.dtype.name for _, info in infos}
    if "uint16" in names and len(names) > 1:
        wanted = replace(wanted, uint16_white=_uint16_white(infos, wanted, seed))
    found, odd = _statistics(dataset.train, wanted, seed, broken | misfits, most_bad)
    scales = tuple(info.mpp for _, info in infos)
    preprocessing = replace(
        wanted,
        mean=found.mean,
        std=found.std,
        mpp=common_scale(scales),
        limits=found.limits,
        rules=CURRENT_RULES,
        uint16_white=wanted.uint16_white or (_white(found.limits) if dtype == "uint16" else None),
    )
    trained = {sample.path for sample in dataset.train}
    smallest, info = min(infos, key=lambda pair: min(pair[1].size))
    return Survey(
        preprocessing,
        sizes=tuple(info.size for _, info in infos),
        smallest=(smallest.path, info.size),
        scales=scales,
        nodata=tuple(sorted({number_text(info.nodata) for _, info in infos if info.nodata is not None})),
        missing=found.missing,
        odd=odd,
        recolored=tuple(Counter(filter(None, (wanted.channel_change(info) for _, info in infos))).items()),
        trained=tuple(sample.path in trained for sample, _ in infos),
        patches=() if usual is None else usual.warnings,
    )


def _common_pixels(infos: Sequence[ImageInfo]) -> tuple[int, str, bool]:
    """Return the number of channels and the dtype that most images can be converted to, and whether they are features.

    Of several, it is the most common.

    The dtype is then the widest of the images that as many can be converted to, because it loses no value.
    """
    kinds = Counter((info.channels, info.dtype.name, info.features is not None) for info in infos)

    def misfits(kind: tuple[int, str, bool]) -> int:
        return sum(_plain(*kind).mismatch(info) is not None for info in infos)

    channels, common, features = min(kinds, key=lambda kind: (misfits(kind), -kinds[kind]))
    wide = sorted({name for _, name, _ in kinds}, key=lambda name: (-np.dtype(name).itemsize, name != common))
    return channels, min(wide, key=lambda name: misfits((channels, name, features))), features


def _plain(channels: int, dtype: str, features: bool) -> Preprocessing:
    """A preprocessing that changes no value, to ask which images fit."""
    return Preprocessing(
        channels=channels, dtype=dtype, mean=(0.0,) * channels, std=(1.0,) * channels, features=features
    )


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
        more = f" (and {counted(len(problems) - 1, 'more image')} {what})" if len(problems) > 1 else ""
        raise DataError(f"{next(iter(problems.values()))}{more}")


def _statistics(
    samples: Sequence[Sample], wanted: Preprocessing, seed: int, bad: Mapping[Path, str], most_bad: int
) -> tuple[PixelStatistics, tuple[Path, ...]]:
    """Return the statistics of one random window of each of some usable images, and the images that count for none."""
    chosen = spread([sample for sample in samples if sample.path not in bad], SAMPLED_IMAGES)
    if not chosen:
        raise DataError(f"{next(iter(bad.values()))}; no other training image can be used either; give other images")
    results = _read_windows(chosen, wanted, seed)
    broken = {sample.path: str(found) for sample, found in results if isinstance(found, ImageError)}
    _refuse({**bad, **broken} if broken else {}, "that cannot be read", min(most_bad, len(bad) + len(results) - 1))
    usable = [(sample, found) for sample, found in results if not isinstance(found, ImageError)]
    merged = merge_statistics([found for _, found in usable])
    if merged.limits is None:
        raise DataError(
            f"{chosen[0].path}: all pixels that were sampled of the training images are missing (nodata, NaN or "
            "infinity); check the nodata value with `fit info`"
        )
    return merged, tuple(usable[number][0].path for number in merged.odd)


def _read_windows(
    chosen: Sequence[Sample], wanted: Preprocessing, seed: int
) -> list[tuple[Sample, WindowStatistics | ImageError]]:
    """Return the statistics of a random window of each image, with its channels and dtype converted."""

    def read(number: int) -> WindowStatistics | ImageError:
        try:
            with open_as(chosen[number].path, wanted.read_as) as image:
                rng = np.random.default_rng([seed, 3, number])
                for _ in range(WINDOWS):
                    pixels, missing = wanted.convert_marked(image.read(_window(image, rng)), image.info)
                    if missing is None or not missing.all():
                        break
                return window_statistics(pixels, missing)
        except ImageError as error:
            return error

    with ThreadPoolExecutor(2, "statistics") as pool:
        return list(zip(chosen, pool.map(read, range(len(chosen))), strict=True))


def _window(image: ImageReader, rng: np.random.Generator) -> Window:
    length = min(SIDE, math.isqrt(MOST_VALUES // image.info.channels))
    top, left = (int(rng.integers(max(0, side - length) + 1)) for side in image.info.size)
    return Window(top, left, length, length).clip(*image.info.size)


def _uint16_white(infos: Sequence[tuple[Sample, ImageInfo]], wanted: Preprocessing, seed: int) -> int | None:
    """Return the white of the uint16 images of a data set that also has images of fewer bits, see `_white`."""
    deep = [sample for sample, info in infos if info.dtype == np.uint16]
    windows = [
        found
        for _, found in _read_windows(spread(deep, SAMPLED_IMAGES), replace(wanted, dtype="uint16"), seed)
        if not isinstance(found, ImageError)
    ]
    return _white(merge_statistics(windows).limits) if windows else None


def _white(limits: tuple[float, float] | None) -> int | None:
    """Return the smallest 2^n - 1 that holds uint16 pixels, which are often of 10 or 12 bits; None for all 16 bits."""
    bits = 16 if limits is None else max(8, int(limits[1]).bit_length())
    return None if bits >= 16 else 2**bits - 1
