"""Reads windows of real images as the model that is compared with them sees them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from fitcli.data.dataset import Sample, spread
from fitcli.errors import ImageError
from fitcli.evaluation.quality.crops import cells, disjoint_windows
from fitcli.evaluation.quality.laplacian_pyramid import Values
from fitcli.evaluation.quality.nearest import WINDOW, places_of
from fitcli.images.base import ImageReader, Pixels
from fitcli.images.window import Window
from fitcli.noise import generator
from fitcli.patches.preprocessing import Preprocessing
from fitcli.patches.value_range import PixelRange
from fitcli.tasks.encoding.image_opener import ImageOpener

MOST_TRAINED = 1 << 14
"""Most training images that are searched."""


@dataclass(frozen=True, slots=True)
class RealImages:
    """Real images, in the type and channels of the pixels of a model.

    Attributes:
        opener: Opens the images.
        preprocessing: Pixels that the model is trained on.
        seed: Seed of the random choices.
    """

    opener: ImageOpener
    preprocessing: Preprocessing
    seed: int

    def size(self, sample: Sample) -> tuple[int, int]:
        """Return the (height, width) of an image in pixels."""
        with self.opener.open(sample.path) as image:
            return image.info.size

    def present(self, image: ImageReader, window: Window) -> Pixels | None:
        """Return pixels in the type of the model; None if some are missing."""
        pixels, missing = self.preprocessing.convert_filled(image.read(window), image.info)
        return None if missing is not None and missing.any() else pixels

    def present_windows(
        self, image: ImageReader, size: tuple[int, int], most: int, stream: str, number: int
    ) -> Iterator[Pixels]:
        """Yield at most `most` disjoint windows of (height, width) pixels without missing pixels, at random places.

        If some of the places drawn first have missing pixels, those of a second grid are tried.
        """
        drawn, taken = disjoint_windows(image.info.size, size, most, self.random(stream, number)), list[Window]()
        for window in chain(drawn, self._more_windows(image, size, f"more {stream}", number)):
            if len(taken) == len(drawn):
                return
            if any(window.intersection(other).area for other in taken):
                continue
            if (pixels := self.present(image, window)) is not None:
                taken.append(window)
                yield pixels

    def _more_windows(self, image: ImageReader, size: tuple[int, int], stream: str, number: int) -> Iterator[Window]:
        yield from disjoint_windows(image.info.size, size, cells(image.info.size, size), self.random(stream, number))

    def values_or_nan(self, image: ImageReader, window: Window) -> Values:
        """Return pixels as `values` does, and NaN for missing ones."""
        pixels, missing = self.preprocessing.convert_filled(image.read(window), image.info)
        values = PixelRange.of(self.preprocessing).to_values(pixels)
        return values if missing is None else np.where(missing, np.float32(np.nan), values)

    def values(self, image: ImageReader, window: Window) -> Values:
        """Return pixels [height width channels] as values in [0, 1]."""
        pixels = self.preprocessing.convert(image.read(window), image.info)
        return PixelRange.of(self.preprocessing).to_values(pixels)

    def random(self, stream: str, number: int) -> np.random.Generator:
        """Return the random numbers of an image for one purpose."""
        return generator(self.seed, stream, number)

    def trained_windows(
        self, trained: Sequence[Sample], crop: tuple[int, int], most_places: int
    ) -> Iterator[tuple[ImageReader, Window]]:
        """Yield windows of training images, evenly spread over them, with about `most_places` places in all."""
        images = spread(trained, MOST_TRAINED) if trained else []
        for number, sample in enumerate(images):
            try:
                with self.opener.open(sample.path) as image:
                    size = image.info.size
                    if size[0] < crop[0] or size[1] < crop[1] or self.preprocessing.mismatch(image.info):
                        continue
                    window = min(size[0], WINDOW * crop[0]), min(size[1], WINDOW * crop[1])
                    places = places_of(window, crop)
                    # One window of every so many images if not even one of each fits.
                    if number % max(1, places * len(images) // most_places):
                        continue
                    count = max(1, most_places // (places * len(images)))
                    for part in disjoint_windows(size, window, count, self.random("training windows", number)):
                        yield image, part
            except ImageError as error:
                self.opener.report(error)
