"""Cuts disjoint crops out of images, and keeps what the figures need of each crop."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fitcli.evaluation.quality.laplacian_pyramid import Values, laplacian_pyramid, level_sizes
from fitcli.evaluation.quality.nearest import shrink, shrink_factor
from fitcli.evaluation.quality.sliced_wasserstein import Descriptors, descriptors_per_crop, draw_descriptors
from fitcli.images.base import Pixels
from fitcli.images.window import Window
from fitcli.noise import generator
from fitcli.patches.value_range import PixelRange

MOST_CROPS = 1 << 14
"""Most crops of a set: as many as Karras et al. compare."""


def disjoint_windows(
    size: tuple[int, int], crop: tuple[int, int], most: int, random: np.random.Generator
) -> list[Window]:
    """Return at most `most` windows of size `crop` of an image, at random cells of a grid with a random origin."""
    (height, width), (rows, columns) = crop, (size[0] // crop[0], size[1] // crop[1])
    if not rows * columns:
        return []
    top, left = (int(random.integers(0, side - cells * each + 1)) for side, cells, each in
                 ((size[0], rows, height), (size[1], columns, width)))  # fmt: skip
    cells = random.choice(rows * columns, min(most, rows * columns), replace=False)
    return [
        Window(top + int(cell) // columns * height, left + int(cell) % columns * width, height, width) for cell in cells
    ]


def even_choice(count: int, wanted: int) -> list[int]:
    """Return `wanted` numbers below `count`, evenly spaced."""
    return [number * count // wanted for number in range(wanted)]


@dataclass(slots=True)
class CropSet:
    """What the figures need of the crops of one set. The crops themselves are not kept.

    Attributes:
        name: Name of the set, which seeds its random choices.
        crop: (height, width) of the crops, in pixels.
        values: Range of the pixels.
        expected: Number of crops that the set will have; with more of them, fewer descriptors of each are kept.
        seed: Seed of the random choices.
        vector_of: Returns the vector of a crop for the Fréchet distance; None for none.
        pyramids: Descriptors [n 7 7 channels] of each level, of each crop.
        vectors: Vector of each crop.
        thumbs: Each crop shrunk for the search in training images.
    """

    name: str
    crop: tuple[int, int]
    values: PixelRange
    expected: int
    seed: int = 0
    vector_of: Callable[[Pixels], list[float]] | None = None
    pyramids: list[list[Descriptors]] = field(default_factory=list)
    vectors: list[list[float]] = field(default_factory=list)
    thumbs: list[Values] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.thumbs)

    def add(self, pixels: Pixels) -> None:
        """Add a crop, in the type of the pixels of the model."""
        values = self.values.to_values(pixels)
        levels = level_sizes(self.crop)
        each = descriptors_per_crop(self.expected, len(levels), values.shape[2])
        random = generator(self.seed, f"descriptors of {self.name}", len(self))
        self.pyramids.append([draw_descriptors(level, each, random) for level in laplacian_pyramid(values)])
        self.thumbs.append(shrink(values, shrink_factor(self.crop)))
        if self.vector_of is not None:
            self.vectors.append(self.vector_of(pixels))

    def level(self, number: int, chosen: list[int]) -> Descriptors:
        """Return the descriptors of one level of the chosen crops."""
        return np.concatenate([self.pyramids[crop][number] for crop in chosen])

    def chosen_vectors(self, chosen: list[int]) -> NDArray[np.float64]:
        """Return the vectors [n d] of the chosen crops."""
        return np.array([self.vectors[crop] for crop in chosen], np.float64)


def sides_within(sizes: list[tuple[int, int]], most: tuple[int, int], least: int) -> tuple[int, int]:
    """Return the largest (height, width) up to `most` that fits into all images of `sizes`, but `least` or more."""
    fitting = [min(most[axis], *(size[axis] for size in sizes)) for axis in (0, 1)]
    return min(most[0], max(fitting[0], least)), min(most[1], max(fitting[1], least))


def cells(size: tuple[int, int], crop: tuple[int, int]) -> int:
    """Return how many disjoint crops an image has."""
    return math.prod(side // each for side, each in zip(size, crop, strict=True))


def parted(crops: Iterable[Pixels], number: int, images: int) -> Iterator[tuple[int, Pixels]]:
    """Yield the crops of an image with the number of their real set, 0 or 1.

    Images belong to the sets in turn; the crops of a single image are shared out.
    """
    for index, crop in enumerate(crops):
        yield (number if images > 1 else index) % 2, crop
