"""A layer of polygons and objects, which is read while the image is looked at."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fitcli.annotations.class_table import Color
from fitcli.errors import FitError, plain
from fitcli.images.base import ImageReader
from fitcli.view.feature_file import ViewedFeatures, read_features
from fitcli.view.feature_tiles import FeatureTiles
from fitcli.view.tile_grid import TileGrid

READ_FIRST_BYTES = 16 << 20
"""Files up to this size are read before the first view, so that what is wrong with them ends the command."""


class _Shown(NamedTuple):
    """What there is to be seen: whether the file is still read, a number that changes with it, and the tiles."""

    state: str
    version: int
    tiles: FeatureTiles | None


class FeatureLayer:
    """A file of shapes over an image.

    Args:
        name: Its name in the page.
        path: The file.
        image: The open image.
        colors: Colours by the names of classes, of the maps that are shown beside it.
        report: Called with what is wrong with a large file, once it is known.

    Raises:
        ImageError: A small file cannot be read, or does not fit the image.
    """

    def __init__(
        self,
        name: str,
        path: Path,
        image: ImageReader,
        colors: Mapping[str, Color],
        report: Callable[[str], None],
    ) -> None:
        self.name, self._path, self._image = name, path, image
        self._colors, self._report = colors, report
        self._shown = _Shown("reading", 0, None)
        self._error = ""
        if path.stat().st_size <= READ_FIRST_BYTES:
            self._read()
        else:
            threading.Thread(target=self._read_later, daemon=True, name="fit-features").start()

    @property
    def grid(self) -> TileGrid:
        """Its tiles, in pixels of the image."""
        return TileGrid(*self._image.info.size)

    def document(self) -> dict[str, Any]:
        """Return what the page needs to know.

        `state` is "ready", "reading" or "error". While the file is read, `version` counts the parts that can be shown;
        with the first one, the other members are there as well.
        """
        known = {"kind": "features", "name": self.name, "opacity": 1.0}
        if self._error:
            return known | {"state": "error", "error": self._error}
        state, version, tiles = self._shown
        known |= {"state": state, "version": version}
        if tiles is None:
            return known
        features = tiles.features
        counts = np.bincount(features.classes, minlength=len(features.names)).tolist()
        classes = [
            {"value": number, "name": name, "color": list(color), "count": counts[number]}
            for number, (name, color) in enumerate(zip(features.names, features.colors(self._colors), strict=True))
        ]
        return known | {
            "count": len(features.shapes), "classes": classes, "notes": list(features.notes),
        }  # fmt: skip

    def tile(self, level: int, column: int, row: int) -> bytes:
        """Return a tile as JSON; an empty one before something has been read."""
        tiles = self._shown.tiles
        return json.dumps({} if tiles is None else tiles.tile(level, column, row), separators=(",", ":")).encode()

    def _read(self) -> None:
        features = read_features(self._path, self._image, self._show_part)
        self._shown = _Shown("ready", self._shown.version + 1, FeatureTiles(features, self._image.info.size))

    def _show_part(self, features: ViewedFeatures) -> None:
        self._shown = _Shown("reading", self._shown.version + 1, FeatureTiles(features, self._image.info.size))

    def _read_later(self) -> None:
        try:
            self._read()
        except (FitError, OSError, MemoryError) as error:
            self._fail(str(error) or "memory ran out")
        except Exception as error:
            # The page would wait for ever.
            self._fail(f"{self._path}: cannot be read ({error!r}); please report it")

    def _fail(self, reason: str) -> None:
        self._error = plain(reason)
        self._report(self._error)
