"""A small picture of how far a generation is, every few steps."""

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
from fitcli.tasks.diffusion.sampling import Done

LONGEST_SIDE = 512
"""Pixels of a preview."""

EVERY = 4
"""Steps from one picture to the next; even, because every other step may have a shifted grid."""

SUFFIXES = (".png", ".jpg", ".jpeg")


class Preview:
    """Collects what the network takes for the data, group by group, and writes it as a picture.

    Args:
        path: A `.png` or `.jpg` file.
        scale: Of the data.

    Raises:
        FitError: Pictures do not have such a name, or there is no such folder.
    """

    def __init__(self, path: Path, scale: float) -> None:
        if path.suffix.lower() not in SUFFIXES:
            raise FitError(f"--preview {path}: is no name of a small picture; give a .png or .jpg")
        check_output_file("--preview", path)
        self._path, self._scale = path, scale
        self._picture: NDArray[np.uint8] | None = None

    def is_due(self, stage: Stage, layout: CanvasLayout, step: int) -> bool:
        """Whether a step is to be shown. Groups of a shifted grid do not meet the pixels of the picture."""
        return layout.offset == 0 and (step % EVERY == 0 or step >= stage.steps - 2)

    def update(self, stage: Stage, layout: CanvasLayout, done: Done) -> None:
        """Draw what a step says about some groups; with the last group the file is written."""
        side = layout.group * stage.patch
        shrink = _shrink(max(stage.size), side)
        if done.part.start == 0:
            channels = done.data.shape[-1] // stage.patch**2
            rows, columns = layout.shape
            small = side // shrink
            self._picture = np.zeros((rows * small, columns * small, channels), np.uint8)
        assert self._picture is not None
        for place, data in zip(layout.places(done.part), done.data, strict=True):
            pixels = join(data[None].float(), (stage.patch, stage.patch), (layout.group, layout.group), 1)
            small = side // shrink
            mean = pixels.reshape(small, shrink, small, shrink, -1).mean(axis=(1, 3))
            top, left = place[0] * stage.patch // shrink, place[1] * stage.patch // shrink
            bytes_ = ((mean / self._scale / 2 + 0.5).clip(0, 1) * 255).round().astype(np.uint8)
            self._picture[top : top + small, left : left + small] = bytes_
        if done.part.stop == layout.count:
            height, width = (-(-pixels // shrink) for pixels in stage.size)
            self._write(self._picture[:height, :width])

    def _write(self, picture: NDArray[np.uint8]) -> None:
        """As grey or colour, whatever the number of channels."""
        shown = picture[..., :3] if picture.shape[-1] >= 3 else picture[..., :1]
        height, width, channels = shown.shape
        info = ImageInfo(height=height, width=width, channels=channels, dtype=np.dtype(np.uint8), color=channels == 3)
        with create_image(self._path, info) as writer:
            writer.write(Window(0, 0, height, width), np.ascontiguousarray(shown))


def _shrink(longest: int, side: int) -> int:
    """Pixels of a group side that become one: the least divisor of it that makes the picture small enough."""
    wanted = -(-longest // LONGEST_SIDE)
    return next(divisor for divisor in range(1, side + 1) if side % divisor == 0 and divisor >= min(wanted, side))
