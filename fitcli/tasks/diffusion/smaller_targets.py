"""Reads the smaller version of each training image beside its class, for runs that learn to enlarge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fitcli.data.augmentation import turn_patches
from fitcli.data.dataset import Sample
from fitcli.data.place import Place
from fitcli.images.base import ImageReader
from fitcli.noise import generator
from fitcli.patches.grid import PatchGrid
from fitcli.patches.preprocessing import Preprocessing
from fitcli.patches.resampling import REACH
from fitcli.tasks.class_targets import ClassLabelReader, ClassLabels
from fitcli.tasks.diffusion.config import DiffusionConfig, Enlarging
from fitcli.tasks.diffusion.pixel_source import image_source
from fitcli.tasks.diffusion.smaller_image import group_windows, read_smaller, with_surroundings

STREAM = "smaller version"
"""Stream of the random numbers of the noise on smaller versions."""


class SmallerImage(NamedTuple):
    """The target of one image.

    Attributes:
        label: Number of the class.
        windows: Windows of the smaller version [g k k c], noisy, see `smaller_image.group_windows`.
        level: Noise on it, as the network is told.
    """

    label: int
    windows: Tensor
    level: float


@dataclass(frozen=True, slots=True)
class SmallerImages:
    """Classes and smaller versions of the images of a batch.

    Attributes:
        labels: The classes.
        windows: Windows of all groups, [g k k c].
        levels: Noise on the smaller version of each image, [b].
    """

    labels: ClassLabels
    windows: Tensor
    levels: Tensor

    def map_tensors(self, move: Callable[[Tensor], Tensor]) -> SmallerImages:
        """Return the same with `move` applied to every tensor."""
        return SmallerImages(self.labels.map_tensors(move), move(self.windows), move(self.levels))


@dataclass(frozen=True, slots=True)
class SmallerImageReader:
    """Reads the class of an image, and the smaller version of the part that a step sees.

    The smaller version goes beyond a window of the image as far as its enlargement depends on it. Its noise depends on
    the seed, the epoch and the number of the image alone.

    Attributes:
        config: The diffusion of the run.
        enlarging: How the run enlarges.
        preprocessing: Pixels that the model is trained on.
        seed: Seed of the noise.
    """

    config: DiffusionConfig
    enlarging: Enlarging
    preprocessing: Preprocessing
    seed: int

    def read(self, sample: Sample, place: Place, image: ImageReader, missing: Tensor | None) -> SmallerImage:
        """Return the class and the smaller version at a place, turned as the pixels are."""
        factor, scale = self.enlarging.factor, self.config.scale
        source = image_source(image, self.preprocessing, scale)
        region, (above, left) = with_surroundings(place.window, image.info.size, factor)
        smaller = read_smaller(source.read, region, factor)
        (epoch, number), noise = place.showing, self.enlarging.noise
        random = generator(self.seed, STREAM, number, step=epoch)
        level = float(random.random())
        if noise:
            drawn = random.standard_normal(smaller.shape, dtype=np.float32)
            smaller = smaller + np.float32(2 * scale * noise * level) * drawn
        side = place.grid.group_pixels // factor
        places = [(row * side + above, column * side + left) for row, column in place.positions]
        cut = _turned(_windows(smaller, places, side), place.quarters, place.mirror)
        return SmallerImage(ClassLabelReader().read(sample, place, image, missing), cut, level if noise else 0.0)

    def join(self, targets: Sequence[SmallerImage]) -> SmallerImages:
        """Join the targets of a batch."""
        labels = ClassLabelReader().join([target.label for target in targets])
        windows = torch.cat([target.windows for target in targets])
        return SmallerImages(labels, windows, torch.tensor([target.level for target in targets]))

    def stratum(self, sample: Sample) -> int:
        """Return the number of the class."""
        return ClassLabelReader().stratum(sample)


def _windows(smaller: np.ndarray, places: list[tuple[int, int]], side: int) -> Tensor:
    if not places:
        reach = side + 2 * REACH
        return torch.empty(0, reach, reach, smaller.shape[2])
    return group_windows(lambda window: smaller[window.slices()], smaller.shape[:2], places, side)


def _turned(windows: Tensor, quarters: int, mirror: bool) -> Tensor:
    side = windows.shape[1]
    grid = PatchGrid((side, side), side, 1)
    return turn_patches(windows.flatten(1)[:, None], grid, quarters, mirror).reshape(windows.shape)
