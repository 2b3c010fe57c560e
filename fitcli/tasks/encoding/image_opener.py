"""Opens the images that a run is used on, and warns of those whose scale is not that of the training images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fitcli import console
from fitcli.distributed.image_queue import ImageQueue
from fitcli.images.base import ImageReader
from fitcli.images.open import open_image
from fitcli.images.scale import same_scale


@dataclass(frozen=True, slots=True)
class ImageOpener:
    """Opens the images of one command.

    Attributes:
        queue: The processes that share the images.
        trained: Microns per pixel of the training images; None if unknown or mixed.
    """

    queue: ImageQueue
    trained: float | None

    def open(self, path: Path) -> ImageReader:
        """Open an image. Of the images of another scale, the first is warned of.

        Raises:
            ImageError: It cannot be opened.
        """
        image = open_image(path)
        scale = image.info.mpp
        # An image or a run without a scale cannot be compared.
        if scale is not None and self.trained is not None and not same_scale(scale, self.trained):
            self._warn(path, scale, self.trained)
        return image

    def _warn(self, path: Path, scale: float, trained: float) -> None:
        if self.queue.is_first_time("scale"):
            console.warning(
                f"{path}: has {scale:g} microns per pixel, the run was trained at {trained:g}, so things have another "
                f"size in pixels; --mpp {trained:g} reads images at the scale of the run (others are not named)"
            )
