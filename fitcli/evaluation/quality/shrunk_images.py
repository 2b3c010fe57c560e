"""Shrinks held-out images for runs that enlarge, and enlarges them again by cubic convolution, for comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fitcli.data.dataset import Sample, spread_first
from fitcli.errors import DataError
from fitcli.evaluation.quality.crops import CropSet
from fitcli.evaluation.quality.real_images import RealImages
from fitcli.files.wording import counted
from fitcli.images.base import ImageReader, Pixels
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
        real: Reader of the images.
        factor: Side of a window over that of its smaller version.
        folder: Folder of the files.
        count: Number of windows that are shrunk.
        paths: Their files.
        samples: The image of each.
    """

    real: RealImages
    factor: int
    folder: Path
    count: int
    paths: list[Path] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)

    def window_size(self, image: ImageReader, size: tuple[int, int]) -> tuple[int, int]:
        """Return the largest (height, width) up to `size`, in pixels, that an image has and the factor divides."""
        height, width = (
            min(ours, most) // self.factor * self.factor for ours, most in zip(image.info.size, size, strict=True)
        )
        return height, width

    def add(self, sample: Sample, image: ImageReader, size: tuple[int, int], most: int) -> None:
        """Shrink at most `most` disjoint windows of an image that have no missing pixels."""
        most = min(most, self.count - len(self.paths))
        for pixels in self.real.present_windows(image, size, most, "shrunk", len(self.paths)):
            self.paths.append(self._write(pixels))
            self.samples.append(sample)

    def _write(self, pixels: Pixels) -> Path:
        path, values = self.folder / f"shrunk-{len(self.paths)}.zarr", PixelRange.of(self.real.preprocessing)
        smaller = values.to_pixels(shrink(values.to_values(pixels), self.factor))
        with create_image(path, output_info(smaller.shape[:2], self.real.preprocessing)) as image:
            image.write(Window(0, 0, *smaller.shape[:2]), smaller)
        return path


def write_shrunk(
    images: Sequence[Sample], real: RealImages, count: int, size: tuple[int, int], factor: int, folder: Path
) -> ShrunkImages:
    """Write smaller versions: means of squares of `factor` x `factor` pixels, rounded to the type of the pixels.

    Args:
        images: Images to shrink. They are taken evenly spread; one whose windows have missing pixels is replaced by
            another, and a smaller image is taken only where larger ones do not suffice.
        real: How they are read.
        count: Number of windows that are shrunk; fewer if the images have fewer disjoint ones without missing pixels.
        size: (height, width) of the windows, in pixels. A window of a smaller image is as large as the image allows.
        factor: Side of a window over that of its smaller version.
        folder: Folder of the files.

    Raises:
        DataError: No image has a window without missing pixels.
    """
    written, smaller = ShrunkImages(real, factor, folder, count), list[Sample]()
    most = -(-count // min(count, len(images)))
    for sample in spread_first(images, count):
        if len(written.paths) == count:
            return written
        with real.opener.open(sample.path) as image:
            if any(ours < wanted for ours, wanted in zip(image.info.size, size, strict=True)):
                smaller.append(sample)
            else:
                written.add(sample, image, written.window_size(image, size), most)
    for sample in smaller:
        with real.opener.open(sample.path) as image:
            if all(window := written.window_size(image, size)):
                written.add(sample, image, window, most)
    if not written.paths:
        raise DataError(
            f"no image has a window of {size[1]} x {size[0]} pixels, or of all its own pixels, to shrink by {factor} "
            "that has no missing ones; give a smaller --sample-size, or other images"
        )
    return written


def add_bicubic(path: Path, real: RealImages, factor: int, crops: CropSet, windows: Sequence[Window]) -> None:
    """Add windows of an image that is enlarged by cubic convolution."""
    values = PixelRange.of(real.preprocessing)
    with open_image(path) as image:
        height, width = image.info.size
        for window in windows:
            target = height * factor, width * factor
            enlarged = enlarge(lambda part: values.to_values(image.read(part)), (height, width), target, window)
            crops.add(values.to_pixels(enlarged))
