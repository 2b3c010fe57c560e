"""Shrinks held-out images for runs that enlarge, and enlarges them again by cubic convolution, for comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fitcli.data.dataset import Sample, spread
from fitcli.errors import DataError
from fitcli.evaluation.quality.crops import CropSet, disjoint_windows
from fitcli.evaluation.quality.real_images import RealImages
from fitcli.files.wording import counted
from fitcli.images.base import Pixels
from fitcli.images.open import create_image, open_image
from fitcli.images.window import Window
from fitcli.patches.resampling import enlarge, shrink
from fitcli.patches.value_range import PixelRange
from fitcli.tasks.image_output import output_info

SHARE = 3
"""One of so many held-out images is shrunk; the others are compared with what becomes of it."""


def parted_images(held_out: Sequence[Sample]) -> tuple[list[Sample], list[Sample]]:
    """Return the images that are shrunk, and those that enlarged ones are compared with.

    Raises:
        DataError: There are too few images for both.
    """
    if len(held_out) < SHARE:
        raise DataError(
            f"{counted(len(held_out), 'image')} to compare with: of a run that enlarges, one part is enlarged and "
            f"two parts are compared with it; give {SHARE} or more"
        )
    shrunk = list(held_out[SHARE - 1 :: SHARE])
    return shrunk, [sample for number, sample in enumerate(held_out) if number % SHARE != SHARE - 1]


@dataclass(slots=True)
class ShrunkImages:
    """Smaller versions of windows of images, as files of whole pixels.

    Attributes:
        paths: Their files.
        samples: The image of each.
    """

    paths: list[Path] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)


def write_shrunk(
    images: Sequence[Sample], real: RealImages, count: int, size: tuple[int, int], factor: int, folder: Path
) -> ShrunkImages:
    """Write smaller versions: means of squares of `factor` x `factor` pixels, rounded to the type of the pixels.

    Args:
        images: Images to shrink.
        real: How they are read.
        count: Number of windows that are shrunk; fewer if the images have fewer disjoint ones without missing pixels.
        size: (height, width) of the windows, in pixels. A window of a smaller image is as large as the image allows.
        factor: Side of a window over that of its smaller version.
        folder: Folder of the files.

    Raises:
        DataError: No image has a window without missing pixels.
    """
    written, chosen = ShrunkImages(), spread(images, count)
    each = -(-count // len(chosen))
    for number, sample in enumerate(chosen):
        with real.opener.open(sample.path) as image:
            height, width = (min(a, b) // factor * factor for a, b in zip(size, image.info.size, strict=True))
            if not height or not width:
                continue
            for window in disjoint_windows(image.info.size, (height, width), each, real.random("shrunk", number)):
                if len(written.paths) < count and (pixels := real.present(image, window)) is not None:
                    path = folder / f"shrunk-{len(written.paths)}.zarr"
                    _write(path, pixels, real, factor)
                    written.paths.append(path)
                    written.samples.append(sample)
    if not written.paths:
        raise DataError(f"no image has {factor} x {factor} pixels without missing ones to shrink; give larger images")
    return written


def _write(path: Path, pixels: Pixels, real: RealImages, factor: int) -> None:
    values = PixelRange.of(real.preprocessing)
    smaller = values.to_pixels(shrink(values.to_values(pixels), factor))
    with create_image(path, output_info(smaller.shape[:2], real.preprocessing)) as image:
        image.write(Window(0, 0, *smaller.shape[:2]), smaller)


def add_bicubic(path: Path, real: RealImages, factor: int, crops: CropSet, windows: Sequence[Window]) -> None:
    """Add windows of an image that is enlarged by cubic convolution."""
    values = PixelRange.of(real.preprocessing)
    with open_image(path) as image:
        height, width = image.info.size
        for window in windows:
            target = height * factor, width * factor
            enlarged = enlarge(lambda part: values.to_values(image.read(part)), (height, width), target, window)
            crops.add(values.to_pixels(enlarged))
