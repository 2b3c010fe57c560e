"""Chooses the size of the crops that are compared, and cuts them out of real images."""

from __future__ import annotations

from collections.abc import Sequence

from fitcli import console
from fitcli.data.dataset import Sample, spread_first
from fitcli.errors import DataError, FitError
from fitcli.evaluation.quality.crops import CropSet, parted, sides_within
from fitcli.evaluation.quality.laplacian_pyramid import LEAST_SIDE
from fitcli.evaluation.quality.real_images import RealImages
from fitcli.evaluation.quality.sliced_wasserstein import SIDE

FEW_CROPS = 50
"""Number of crops below which the figures are mostly chance."""


def check_crop(side: int, generated: tuple[int, int]) -> None:
    """Check the sides of crops against the (height, width) of generated images, in pixels.

    Raises:
        FitError: The crops are larger.
    """
    if side > min(generated):
        raise FitError(
            f"--crop {side}: generated images have {generated[1]} x {generated[0]} pixels; give at most "
            f"{min(generated)}, or a larger --sample-size"
        )


def largest_crop(sizes: Sequence[tuple[int, int]], generated: tuple[int, int], factor: int) -> tuple[int, int]:
    """Return the (height, width) of the largest crops that all images have, but `LEAST_SIDE` or more.

    Args:
        sizes: (height, width) of real images, in pixels.
        generated: Those of generated images.
        factor: Number that divides the sides: how many times generated images are enlarged.

    Raises:
        FitError: The crops are too small to compare.
    """
    height, width = sides_within(list(sizes), generated, LEAST_SIDE)
    crop = height // factor * factor, width // factor * factor
    if min(crop) < SIDE:
        raise FitError(
            f"generated images of {generated[1]} x {generated[0]} pixels and real ones have common crops of "
            f"{crop[1]} x {crop[0]} pixels, too small to compare; give a larger --sample-size or larger images"
        )
    return crop


def advice_on_crop(crop: tuple[int, int]) -> str:
    """Return the words that advise smaller crops, if smaller ones can be compared."""
    return "a smaller --crop, or " if min(crop) > LEAST_SIDE else ""


def add_real_crops(images: Sequence[Sample], sets: Sequence[CropSet], real: RealImages) -> None:
    """Add crops of real images to two disjoint sets, until both have as many as they expect.

    The images are evenly spread over those given. One without a crop, or with missing pixels in all of them, is
    replaced by another.

    Raises:
        DataError: There are too few crops.
    """
    crop, wanted = sets[0].crop, sets[0].expected
    count = min(2 * wanted, len(images))
    each, used = -(-2 * wanted // count), 0
    for number, sample in enumerate(spread_first(images, count)):
        if min(map(len, sets)) == wanted:
            break
        with real.opener.open(sample.path) as image:
            before = sum(map(len, sets))
            present = real.present_windows(image, crop, each, "real crops", number)
            for part, pixels in parted(present, used, len(images)):
                if len(sets[part]) < wanted:
                    sets[part].add(pixels)
        used += sum(map(len, sets)) > before
    _check_count(sets)


def _check_count(sets: Sequence[CropSet]) -> None:
    least, (height, width) = min(map(len, sets)), sets[0].crop
    if least < 2:
        raise DataError(
            f"the real images have {sum(map(len, sets))} crops of {width} x {height} pixels without missing "
            f"ones, 4 or more are needed; give {advice_on_crop(sets[0].crop)}more or larger images"
        )
    if least < FEW_CROPS:
        console.warning(
            f"generated images are compared with two sets of {least} real crops; {FEW_CROPS} or more of each make "
            "the figures less a matter of chance"
        )
