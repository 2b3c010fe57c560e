"""Reads the pixels of a generated image, and of an image with a generated part, window by window."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fitcli.images.base import ImageReader, Pixels
from fitcli.images.missing import avoid_nodata
from fitcli.images.window import Window
from fitcli.patches.preprocessing import Preprocessing
from fitcli.patches.value_range import PixelRange
from fitcli.tasks.diffusion.canvas import Canvas
from fitcli.tasks.diffusion.generate.sources import canvas_values
from fitcli.tasks.diffusion.given_image import GivenImage


def generated_pixels(
    canvas: Canvas,
    patch: int,
    scale: float,
    preprocessing: Preprocessing,
    given: GivenImage | None = None,
    exact: bool = False,
) -> Callable[[Window], Pixels]:
    """Return a function that returns the pixels of a window of a finished canvas.

    Args:
        canvas: The canvas.
        patch: Number of pixels per side of a patch.
        scale: Scale of the data.
        preprocessing: Pixels that the model was trained on.
        given: Smaller version that the data of the canvas differ from; None if they are the image.
        exact: Whether the pixels are values in [0, 1] instead of those that the model was trained on.
    """
    values = PixelRange.of(preprocessing)

    def read(window: Window) -> Pixels:
        data = canvas_values(canvas, patch, window)
        if given is not None:
            data = given.add_window(data, window)
        unit = data / np.float32(2 * scale) + np.float32(0.5)
        return unit.clip(0, 1) if exact else values.to_pixels(unit)

    return read


def repainted_pixels(
    image: ImageReader,
    preprocessing: Preprocessing,
    generated: Callable[[Window], Pixels],
    context: Window,
    window: Window,
) -> Callable[[Window], Pixels]:
    """Return a function that returns the pixels of a window of an image, part of which is generated.

    Missing pixels outside of the generated part stay missing.

    Args:
        image: The image.
        preprocessing: Pixels that the model was trained on.
        generated: Returns generated pixels of a window of the context.
        context: The part of the image that the model saw, in pixels of the image.
        window: The generated part, in pixels of the image.
    """

    nodata = preprocessing.kept_nodata(image.info)

    def read(part: Window) -> Pixels:
        pixels = preprocessing.convert_to_keep(image.read(part), image.info)
        new = part.intersection(window)
        if new.area:
            place = new.shift(-part.top, -part.left).slices()
            pixels[place] = avoid_nodata(generated(new.shift(-context.top, -context.left)), nodata)
        return pixels

    return read
