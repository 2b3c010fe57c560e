"""What a page shows: one image or several beside each other, each with its layers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fitcli.annotations.class_table import Color
from fitcli.errors import FitError, UnreadableAs, plain
from fitcli.files.path_choice import stored_path
from fitcli.images.base import ImageReader
from fitcli.images.read_as import AS_STORED, ReadAs, open_as
from fitcli.view.feature_file import holds_features
from fitcli.view.feature_layer import FeatureLayer
from fitcli.view.raster_layer import CLASSES, RasterLayer, open_layer
from fitcli.view.shown_image import ShownImage, show_image
from fitcli.view.value_scale import ValueScale

Shown = ShownImage | RasterLayer | FeatureLayer
"""Something with tiles."""


@dataclass(slots=True)
class Pane:
    """An image and what lies over it, by their numbers in the scene."""

    image: int
    layers: list[int] = field(default_factory=list)


class ViewScene:
    """Images and layers, which have numbers: addresses name nothing else. Use it as a context manager.

    Args:
        paths: The first is an image. Each further file is a layer over it.
        how: Level, scale and planes that are read of images.
        side_by_side: Whether further files of pixels are images that stand beside the first. Files of shapes then lie
            over the image before them.
        scales: Colours of heat maps by the first word of their description.
        report: Called with what is wrong with a large file of shapes, and with what is shown of several planes.

    Raises:
        FitError: A file cannot be read, or a layer does not fit its image.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        how: ReadAs = AS_STORED,
        *,
        side_by_side: bool = False,
        scales: Mapping[str, ValueScale] | None = None,
        report: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.shown: list[Shown] = []
        self.panes: list[Pane] = []
        self._how, self._scales, self._report, self._colors = how, scales or {}, report, dict[str, Color]()
        with ExitStack() as stack:
            self._files = stack
            for number, path in enumerate(paths):
                if holds_features(stored_path(path)):
                    self._add_features(path)
                elif number == 0 or side_by_side:
                    self._add_image(path)
                else:
                    self._add_raster(path)
            self._files = stack.pop_all()

    def __enter__(self) -> ViewScene:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def document(self) -> dict[str, Any]:
        """Return what the page needs to know."""
        panes = [
            {
                "image": {"id": pane.image} | self.shown[pane.image].document(),
                "layers": [{"id": number} | self.shown[number].document() for number in pane.layers],
            }
            for pane in self.panes
        ]
        return {"panes": panes}

    def values(self, pane: int, x: float, y: float) -> dict[str, str]:
        """Return the values of an image and its layers at a place in its pixels, by their numbers.

        Raises:
            ImageError: They cannot be read.
        """
        numbers = [self.panes[pane].image, *self.panes[pane].layers]
        each = [(number, self.shown[number]) for number in numbers]
        return {str(number): one.value_text(x, y) for number, one in each if not isinstance(one, FeatureLayer)}

    def _add_image(self, path: Path) -> None:
        image = self._files.enter_context(open_as(path, self._how, lenient=True))
        self._note_planes(path, image)
        self.shown.append(show_image(_name(path), image))
        self.panes.append(Pane(len(self.shown) - 1))
        if len(self.panes) > 1:
            self._add_own_colors(path, image)

    def _add_own_colors(self, path: Path, image: ImageReader) -> None:
        """Show a map or a heat map that stands beside others in the colours that it has as a layer."""
        try:
            layer = open_layer(_name(path), path, image, self._scales, over=False, how=self._how)
        except UnreadableAs:
            # Features have no such colours, and indices not the channels that were chosen of the colours.
            return
        if layer.has_own_colors and layer.image.info.size == image.info.size:
            self._files.enter_context(layer.image)
            self._add_layer(dataclasses.replace(layer, opacity=1.0))
        else:
            layer.image.close()

    def _add_raster(self, path: Path) -> None:
        layer = open_layer(_name(path), path, self._image, self._scales)
        self._files.enter_context(layer.image)
        self._note_planes(path, layer.image, layer=True)
        self._add_layer(layer)

    def _add_features(self, path: Path) -> None:
        if not self.panes:
            raise FitError(f"{path}: holds polygons or objects; give the image that they lie over before them")
        self._add_layer(FeatureLayer(_name(path), path, self._image, self._colors, self._report))

    def _add_layer(self, layer: Shown) -> None:
        if isinstance(layer, RasterLayer) and layer.kind == CLASSES and layer.legend is not None:
            for value, name in layer.legend.names.items():
                self._colors.setdefault(name, layer.legend.colors[value])
        self.shown.append(layer)
        self.panes[-1].layers.append(len(self.shown) - 1)

    @property
    def _image(self) -> ImageReader:
        """The image that comes last."""
        last = self.shown[self.panes[-1].image]
        assert isinstance(last, ShownImage)
        return last.image

    def _note_planes(self, path: Path, image: ImageReader, layer: bool = False) -> None:
        """Say which planes are not shown. Options concern images; the planes of a layer stand behind its path."""
        contents = image.describe_contents()
        if not contents.series:
            return
        read, choice = contents.series[contents.read], image.choice
        # Pages without a meaning become what was chosen.
        of_pages = choice.z or choice.t or choice.channels
        several = (
            (read.focal_planes, "focal planes", "z", choice.z),
            (read.time_points, "time points", "t", choice.t),
            (read.pages, "pages", "z", of_pages),
        )
        for count, what, option, chosen in several:
            if count > 1 and chosen is None:
                how = f"#{option}=N at the end of its name" if layer else f"--{option}"
                self._report(f"{path}: shows the first of {count} {what}; {how} chooses another")


def _name(path: Path) -> str:
    """Return the name of a file for the page; characters that could disguise it are escaped."""
    return plain(path.name)
