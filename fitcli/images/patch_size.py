"""Compares the sizes of the patches that files of features were extracted from."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fitcli.images.feature_grid import FeatureGrid
from fitcli.images.scale import same_scale


@dataclass(frozen=True, slots=True)
class PatchSize:
    """Side of a patch, in the units that a file allows. Slides of several scales have patches of one size in microns.

    Attributes:
        pixels: Level-0 pixels of the slide.
        microns: Microns by the stated microns per pixel; None if they are not stated.
        nominal: Microns by the objective power, 10 divided by it per pixel; None if it is not stated.
        stated: Whether the file states the size; otherwise, it is the distance of the patches.

    Raises:
        ValueError: A value is impossible.
    """

    pixels: float
    microns: float | None = None
    nominal: float | None = None
    stated: bool = True

    def __post_init__(self) -> None:
        for value in (self.pixels, *(each for each in (self.microns, self.nominal) if each is not None)):
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
                raise ValueError(f"a patch of features cannot have the side {value!r}")
        if not isinstance(self.stated, bool):
            raise ValueError(f"stated must be true or false, not {self.stated!r}")

    def agrees(self, other: PatchSize) -> bool:
        """Return whether two sizes are about the same in a unit that both have."""
        mine, others = (self.pixels, self.microns, self.nominal), (other.pixels, other.microns, other.nominal)
        return any(a is not None and b is not None and same_scale(a, b) for a, b in zip(mine, others, strict=True))

    def contradicts(self, other: PatchSize) -> bool:
        """Return whether both sizes are stated, and differ."""
        return self.stated and other.stated and not self.agrees(other)

    def advice(self, other: PatchSize) -> str:
        """Return what to do about files of two sizes."""
        mine, others = (self.microns, self.nominal), (other.microns, other.nominal)
        if any(a is not None and b is not None for a, b in zip(mine, others, strict=True)):
            return "extract all features with one patch size"
        return (
            "extract all features with one patch size; if their slides differ in scale, write the attribute level0_mpp "
            "or level0_magnification of coords into both"
        )

    def __str__(self) -> str:
        microns = self.nominal if self.microns is None else self.microns
        return f"{self.pixels:g} pixels{'' if microns is None else f' ({microns:g} microns)'}"


def patch_size(grid: FeatureGrid | None) -> PatchSize | None:
    """Return the size of the patches of an image of features; None if it is unknown, or the image is of pixels."""
    if grid is None or grid.patch is None:
        return None
    return PatchSize(
        grid.patch,
        None if grid.mpp is None else grid.patch * grid.mpp,
        None if grid.magnification is None else grid.patch * 10 / grid.magnification,
        grid.states_patch,
    )


def guessed_difference(size: PatchSize, usual: PatchSize, others: str) -> str:
    """Return a warning of features whose size differs from the usual one, where a file states no size.

    Args:
        size: Size of the features.
        usual: The usual size.
        others: Start of the second clause, such as "a.h5 has".
    """
    mine = "states patches" if size.stated else "has patches at a distance"
    theirs = f"patches of {usual}" if usual.stated else f"patches at a distance of {usual}"
    return (
        f"{mine} of {size}, {others} {theirs}; if the patches differ in size, extract all features with one patch size"
    )
