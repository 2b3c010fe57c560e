"""Draws how an image is changed: a value that follows from the seed, the epoch and the number of the sample."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fitcli.data.dataset import Anchors
from fitcli.images.base import ImageReader
from fitcli.images.rescaled import Rescaled
from fitcli.runs.augmentations import Augmentations

STREAM = 8
"""Second word of the seed of the random numbers; `place` has the others."""

OFTEN = 0.5
"""Share of the images that are blurred, and of those that get noise: the others stay sharp and clean."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """How an image is changed.

    Attributes:
        factor: Side of the new pixels in pixels of the image; above 1 for a smaller image.
        blur: Standard deviation of the Gaussian, in new pixels; 0 for none.
        stain_gains, stain_shifts: Factors and summands of the amounts of haematoxylin and eosin; empty for none.
        hue, saturation: Change of the hue in turns, and factor of the saturation.
        gains, shifts: Factor of the contrast of each channel, and change of its brightness in standard deviations;
            empty for none.
        noise: Standard deviation of the noise, in those of the pixels; 0 for none.
        dropped: Numbers of the channels without content.
        seed: Seed of the noise of the pixels.
    """

    factor: float = 1.0
    blur: float = 0.0
    stain_gains: tuple[float, ...] = ()
    stain_shifts: tuple[float, ...] = ()
    hue: float = 0.0
    saturation: float = 1.0
    gains: tuple[float, ...] = ()
    shifts: tuple[float, ...] = ()
    noise: float = 0.0
    dropped: tuple[int, ...] = ()
    seed: int = 0

    @property
    def recolors(self) -> bool:
        """Whether hue or saturation change."""
        return (self.hue, self.saturation) != (0.0, 1.0)

    @property
    def changes_pixels(self) -> bool:
        """Whether pixels change beside their size."""
        return self.recolors or any((self.blur, self.stain_gains, self.gains, self.noise, self.dropped))

    def resized(self, image: ImageReader, least_side: int) -> ImageReader:
        """Return an image in pixels of the new size.

        Args:
            image: The image. It belongs to the caller, who closes it.
            least_side: Side below which an image is not reduced.
        """
        shortest = min(image.info.size)
        factor = min(self.factor, max(1.0, shortest / least_side)) if self.factor > 1 else self.factor
        return image if factor == 1 else Rescaled(image, 0, factor)


UNCHANGED = Change()


def draw_change(augmentations: Augmentations, channels: int, seed: int, epoch: int, index: int) -> Change:
    """Draw how a sample is changed in an epoch.

    Args:
        augmentations: Kinds and strengths.
        channels: Channels of the images.
        seed: Seed of the run.
        epoch, index: Epoch and number of the sample.
    """
    chosen = augmentations
    if not (chosen.scale or chosen.changes_pixels):
        return UNCHANGED
    # Each kind has its own numbers, so that it does not depend on which others there are.
    scale, stain, color, blur, noise, drop = (
        np.random.default_rng([seed, STREAM, epoch, index, kind]) for kind in range(6)
    )
    gains, shifts = [], []
    if chosen.colour and channels != 3:
        gains = np.exp(color.normal(0, chosen.colour, channels)).tolist()
        shifts = color.normal(0, chosen.colour, channels).tolist()
    turns = chosen.colour / 2 if channels == 3 else 0.0
    kept = drop.random(channels) >= chosen.drop
    kept[drop.integers(channels)] = True
    return Change(
        factor=math.exp(scale.uniform(-1, 1) * math.log1p(chosen.scale)),
        blur=blur.uniform(0, chosen.blur) if chosen.blur and blur.random() < OFTEN else 0.0,
        stain_gains=tuple((1 + stain.uniform(-1, 1, 2) * chosen.stain).tolist()) if chosen.stain else (),
        stain_shifts=tuple((stain.uniform(-1, 1, 2) * chosen.stain).tolist()) if chosen.stain else (),
        hue=float(color.uniform(-1, 1)) * turns,
        saturation=1 + float(color.uniform(-1, 1)) * 4 * turns,
        gains=tuple(gains),
        shifts=tuple(shifts),
        noise=noise.uniform(0, chosen.noise) if chosen.noise and noise.random() < OFTEN else 0.0,
        dropped=tuple(np.flatnonzero(~kept).tolist()) if chosen.drop else (),
        seed=int(noise.integers(2**63)),
    )


def resized_anchors(anchors: Anchors, before: tuple[int, int], after: tuple[int, int]) -> Anchors:
    """Return anchors, (row, column) of pixels, in an image of another size."""
    if before == after:
        return anchors
    ratio = np.array(after) / np.array(before)
    return tuple(((places + 0.5) * ratio).astype(np.int64) for places in anchors)
