"""Reads the values of a label image at the pixels of an image: same place, another size, or another level."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fitcli.errors import FitError, ImageError
from fitcli.files.path_choice import split_choice
from fitcli.images.base import ImageInfo, ImageReader, Level, Pixels
from fitcli.images.contents import Series
from fitcli.images.georeference import GeoReference
from fitcli.images.open import open_image
from fitcli.images.plane_choice import EVERYTHING, PlaneChoice
from fitcli.images.read_as import AS_STORED
from fitcli.images.rescaled import stored_grid
from fitcli.images.window import Window

PIECE_PIXELS = 1 << 24
"""Pixels of the label image that are read at a time."""


class StoredLabels(ImageReader):
    """Presents a label image in the pixels of an image: each has the value at its centre (nearest sampling).

    Level 0 of the label image is read, whatever the level of the image: smaller levels of label images may hold means
    of values.

    Args:
        path: The label image. Of several planes, those of the same numbers as in the image are read, unless the path
            ends with others.
        image: The open image, as `open_as` returns it. It is not needed later.

    Attributes:
        factor: Pixels of the stored image per pixel of the label image.
        steps: Pixels of the label image per pixel that is returned, along height and width.

    Raises:
        ImageError: The label image cannot be read, is a colour image, or is of another size or place.
    """

    def __init__(self, path: Path, image: ImageReader) -> None:
        self.path = path
        self._labels = _open_labels(path, image)
        try:
            own, grid = self._labels.info, stored_grid(image)
            _check_values(path, own)
            self.factor = _factor(path, own, image.path, grid.info)
            _check_place(path, own.geo, image.path, grid.info, self.factor)
        except ImageError:
            self._labels.close()
            raise
        self.decoding_bytes = self._labels.decoding_bytes
        self.steps = grid.rows / self.factor, grid.columns / self.factor
        self.info = dataclasses.replace(
            image.info,
            channels=1,
            dtype=own.dtype,
            levels=(Level(*image.info.size, 1.0),),
            chunk=None,
            format=own.format,
            axes="YX",
            color=False,
            alpha=False,
            channel_names=(),
            nodata=own.nodata,
            palette=own.palette,
        )

    def read(self, window: Window, level: int = 0) -> Pixels:
        if level != 0:
            raise ImageError(self.path, f"has no level {level}: labels have the level of the image alone")
        window = window.clip(*self.info.size)
        if self.steps == (1.0, 1.0) and self.info.size == self._labels.info.size:
            return self._labels.read(window)
        values = np.empty((window.height, window.width, 1), self.info.dtype)
        for piece in self._pieces(window):
            values[piece.shift(-window.top, -window.left).slices()] = self._sampled(piece)
        return values

    def close(self) -> None:
        self._labels.close()

    def _pieces(self, window: Window) -> Iterator[Window]:
        down, across = (max(step, 1.0) for step in self.steps)
        columns = max(1, min(int(PIECE_PIXELS / (down * across)), window.width))
        rows = max(1, int(PIECE_PIXELS / (down * across) / columns))
        for top in range(window.top, window.bottom, rows):
            for left in range(window.left, window.right, columns):
                yield Window(top, left, rows, columns).intersection(window)

    def _sampled(self, piece: Window) -> Pixels:
        size = self._labels.info.size
        rows = _sources(piece.top, piece.bottom, self.steps[0], size[0])
        columns = _sources(piece.left, piece.right, self.steps[1], size[1])
        top, left = int(rows[0]), int(columns[0])
        needed = Window(top, left, int(rows[-1]) - top + 1, int(columns[-1]) - left + 1)
        sampled: Pixels = self._labels.read(needed)[rows - top][:, columns - left]
        return sampled


def _sources(start: int, stop: int, step: float, count: int) -> NDArray[np.int64]:
    """Return the pixels of the label image, `count` along this axis, in which centres of pixels lie."""
    places: NDArray[np.int64] = np.floor((np.arange(start, stop) + 0.5) * step).astype(np.int64)
    return places.clip(0, count - 1)


def _open_labels(path: Path, image: ImageReader) -> ImageReader:
    stored, choices = split_choice(path)
    if choices.keys() & {"level", "mpp"}:
        raise ImageError(path, "labels are read at full resolution; leave out level and mpp")
    try:
        own = AS_STORED.with_text(choices).planes
    except FitError as error:
        raise ImageError(path, f"cannot be read so: {error}") from None
    return open_image(stored, indices=True, choice=own or _planes_like(stored, image))


def _planes_like(path: Path, image: ImageReader) -> PlaneChoice:
    """Return the planes of a label image of several that belong to those that are read of its image."""
    if image.choice.plane is None and image.choice.t is None:
        return EVERYTHING
    with open_image(path, indices=True, lenient=True) as labels:
        contents = labels.describe_contents()
    planes = contents.series[contents.read] if contents.series else Series()
    z = image.choice.z if image.choice.plane is not None else None
    in_pages = planes.pages > 1
    return PlaneChoice(
        z=z if planes.focal_planes > 1 or in_pages else None,
        t=image.choice.t if planes.time_points > 1 or (in_pages and z is None) else None,
    )


def _check_values(path: Path, info: ImageInfo) -> None:
    if info.channels > 1:
        what = "colours" if info.color else f"{info.channels} channels"
        raise ImageError(
            path, f"holds {what}; a label image has one channel of class values: save it as grey or with a palette"
        )


def _factor(path: Path, own: ImageInfo, image_path: Path, image: ImageInfo) -> int:
    """Return the integer factor by which a label image is smaller than its image.

    Raises:
        ImageError: There is none.
    """
    ratios = [full / side for full, side in zip(image.size, own.size, strict=True)]
    known = image.mpp is not None and own.mpp is not None
    guesses = [own.mpp / image.mpp] if image.mpp and own.mpp and known else []
    # Rounding to whole pixels leaves several factors for small label images; powers of two are the most likely.
    guesses += [2.0 ** round(math.log2(ratio)) for ratio in ratios if ratio > 0]
    for guess in [*guesses, *ratios]:
        factor = round(guess)
        sides = zip(image.size, own.size, strict=True)
        if factor >= 1 and all(side in (max(1, full // factor), -(-full // factor)) for full, side in sides):
            return factor
    sizes = f"{own.width} x {own.height} pixels, but {image_path} has {image.width} x {image.height}"
    raise ImageError(
        path, f"has {sizes}; a label image has the size of its image, or is smaller by a whole factor along both sides"
    )


def _check_place(path: Path, own: GeoReference | None, image_path: Path, image: ImageInfo, factor: int) -> None:
    """Compare the georeferences of a label image and its image, if both have one.

    Raises:
        ImageError: They differ in coordinate system, or by more than a pixel of the label image in place.
    """
    if own is None or image.geo is None:
        return
    systems = own.coordinate_system(), image.geo.coordinate_system()
    if None not in systems and systems[0] != systems[1]:
        raise ImageError(
            path, f"is in the coordinate system EPSG:{systems[0]}, but {image_path} in EPSG:{systems[1]}; reproject one"
        )
    theirs, mine = image.geo.affine(), own.affine()
    if theirs is None or mine is None:
        return
    side = math.sqrt(abs(theirs[0] * theirs[4] - theirs[1] * theirs[3]))
    if side == 0:
        return
    corners = (0, 0), (image.height, 0), (0, image.width), image.size
    away = max(
        math.dist(_at(theirs, row, column), _at(mine, row / factor, column / factor)) / side for row, column in corners
    )
    if not away <= factor:
        raise ImageError(path, f"lies in another place, {away:.6g} pixels away from {image_path}; give its own labels")


def _at(affine: tuple[float, ...], row: float, column: float) -> tuple[float, float]:
    a, b, c, d, e, f = affine
    return a * column + b * row + c, d * column + e * row + f
