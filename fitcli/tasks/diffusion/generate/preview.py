"""Writes a small picture of the progress of a generation, every few steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fitcli.errors import FitError
from fitcli.files.output_checks import check_output_file
from fitcli.images.base import ImageInfo
from fitcli.images.open import create_image
from fitcli.images.window import Window
from fitcli.patches.cutting import join
from fitcli.tasks.diffusion.canvas import CanvasLayout
from fitcli.tasks.diffusion.generate.stages import Stage
from fitcli.tasks.diffusion.sampling import StepResult

LONGEST_SIDE = 512
"""Approximate longest side of a preview, in pixels."""

EVERY = 4
"""Number of steps between two pictures; even, because every other step may have a shifted grid."""

SUFFIXES = (".png", ".jpg", ".jpeg")


class Preview:
    """Collects the estimate of the data group by group, and writes it as a picture.

    Args:
        path: A `.png` or `.jpg` file.
        scale: Scale of the data.

    Raises:
        FitError: The file has another suffix, or its folder does not exist.
    """

    def __init__(self, path: Path, scale: float) -> None:
        if path.suffix.lower() not in SUFFIXES:
            raise FitError(f"--preview {path}: is not a small picture; give a .png or .jpg")
        check_output_file("--preview", path)
        self._path, self._scale = path, scale
        self._picture: NDArray[np.uint8] | None = None

    def is_due(self, stage: Stage, layout: CanvasLayout, step: int) -> bool:
        """Return whether a step is shown. Shifted groups are not: they do not align with the pixels of the picture."""
        return layout.offset == 0 and (step % EVERY == 0 or step >= stage.steps - 2)

    def update(self, stage: Stage, layout: CanvasLayout, result: StepResult) -> None:
        """Draw the results of a step for a slice of the groups. The file is written after the last group.

        Raises:
            ImageError: The file cannot be written.
        """
        side = layout.group * stage.patch
        shrink = _shrink(max(stage.size), side)
        if result.part.start == 0:
            channels = result.data.shape[-1] // stage.patch**2
            rows, columns = layout.shape
            small = side // shrink
            self._picture = np.zeros((rows * small, columns * small, channels), np.uint8)
        assert self._picture is not None
        for (row, column), data in zip(layout.places(result.part), result.data, strict=True):
            pixels = join(data[None].float(), (stage.patch, stage.patch), (layout.group, layout.group), 1)
            small = side // shrink
            mean = pixels.reshape(small, shrink, small, shrink, -1).mean(axis=(1, 3))
            top, left = row * stage.patch // shrink, column * stage.patch // shrink
            bytes_ = ((mean / self._scale / 2 + 0.5).clip(0, 1) * 255).round().astype(np.uint8)
            self._picture[top : top + small, left : left + small] = bytes_
        if result.part.stop == layout.count:
            height, width = (-(-pixels // shrink) for pixels in stage.size)
            self._write(self._picture[:height, :width])

    def _write(self, picture: NDArray[np.uint8]) -> None:
        """Write the first channel as grey or the first three as colour."""
        shown = picture[..., :3] if picture.shape[-1] >= 3 else picture[..., :1]
        height, width, channels = shown.shape
        info = ImageInfo(height=height, width=width, channels=channels, dtype=np.dtype(np.uint8), color=channels == 3)
        with create_image(self._path, info) as writer:
            writer.write(Window(0, 0, height, width), np.ascontiguousarray(shown))


def _shrink(longest: int, side: int) -> int:
    """Return how many pixels become one: the least divisor of the side of a group that makes the picture small enough.

    Args:
        longest: Longest side of the image, in pixels.
        side: Side of a group, in pixels.
    """
    least = -(-longest // LONGEST_SIDE)
    return next(divisor for divisor in range(1, side + 1) if side % divisor == 0 and divisor >= min(least, side))
