"""Presents some channels of an image that has a single plane as an image of its own."""

from __future__ import annotations

import dataclasses

from fitcli.errors import ImageError, UnreadableAs
from fitcli.images.base import ImageReader, Pixels
from fitcli.images.plane_axes import choose_planes, chosen_channels, picked_names
from fitcli.images.plane_choice import PlaneChoice
from fitcli.images.plane_grids import Picked
from fitcli.images.window import Window


class ChosenChannels(ImageReader):
    """Reads another image as chosen. Formats that store several planes choose themselves, and read no others.

    Args:
        image: The image to read. It belongs to this reader, which closes it.
        choice: Choice of the user.

    Raises:
        UnreadableAs: The image does not have what is chosen.
    """

    def __init__(self, image: ImageReader, choice: PlaneChoice) -> None:
        self.path, self.decoding_bytes, self.choice = image.path, image.decoding_bytes, choice
        self.info, self._image = image.info, image
        try:
            choose_planes("YX", image.info.size, choice, image.path, False)
            if choice.series is not None and choice.series_number([""]) is None:
                raise UnreadableAs(image.path, f"has no series {choice.series}, only number 0; give another --series")
            names = image.info.channel_names
            numbers = chosen_channels(image.info.channels, names, choice, image.path)
        except ImageError:
            image.close()
            raise
        self._pick = None
        if numbers is not None:
            self._pick = Picked(tuple(numbers))
            color = image.info.color and numbers[:3] == [0, 1, 2]
            self.info = dataclasses.replace(
                image.info,
                channels=len(numbers),
                color=color,
                alpha=False,
                channel_names=picked_names(names, numbers),
            )

    def read(self, window: Window, level: int = 0) -> Pixels:
        pixels = self._image.read(window, level)
        return pixels if self._pick is None else self._pick(pixels)

    def close(self) -> None:
        self._image.close()
