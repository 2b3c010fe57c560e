"""Answers the addresses of a page: parts of a scene by number, and the few files of the page. Knows no sockets.

No part of an address is a path of the file system. Numbers are checked before anything is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import numpy as np

from fitcli.errors import FitError, is_out_of_memory
from fitcli.images.picture_bytes import png_bytes
from fitcli.images.text import draw_text, fitting_text
from fitcli.view.channel_display import parse_channels
from fitcli.view.feature_layer import FeatureLayer
from fitcli.view.raster_layer import VALUES, RasterLayer
from fitcli.view.scene import ViewScene
from fitcli.view.shown_image import ShownImage
from fitcli.view.tile_cache import TileCache
from fitcli.view.tile_grid import FINER_LEVELS, TILE

PAGE_FILES = {
    "": ("view.html", "text/html; charset=utf-8"),
    "view.css": ("view.css", "text/css; charset=utf-8"),
    "view.js": ("view.js", "text/javascript; charset=utf-8"),
    "openseadragon.js": ("openseadragon.min.js", "text/javascript; charset=utf-8"),
}
"""File and type of each name under the token."""

TILE_ADDRESS = re.compile(r"tile/(\d{1,4})/(\d{1,2})/(\d{1,9})_(\d{1,9})", re.ASCII)
VALUE_ADDRESS = re.compile(r"values/(\d{1,4})/(\d{1,9})_(\d{1,9})", re.ASCII)
LAYER_ADDRESS = re.compile(r"layer/(\d{1,4})", re.ASCII)

LONGEST_QUERY = 1000
"""Most characters of the choices behind an address."""

MOST_HIDDEN = 254
"""Most classes of a map that are hidden."""


class Answer(NamedTuple):
    """What a browser receives.

    Attributes:
        status: Code of HTTP.
        body: Content.
        kind: Its type.
        keep: Whether the browser may keep it.
    """

    status: int
    body: bytes
    kind: str = "text/plain; charset=utf-8"
    keep: bool = False


NOT_FOUND = Answer(404, b"not found")


class Answers:
    """Answers addresses about a scene. Thread-safe.

    Args:
        scene: The scene.
    """

    def __init__(self, scene: ViewScene) -> None:
        self._scene, self._cache = scene, TileCache()

    def get(self, address: str, query: str = "") -> Answer:
        """Return the answer to an address.

        Args:
            address: Rest of the address after the token, without a slash before it.
            query: Rest of the address after a question mark.
        """
        if address in PAGE_FILES:
            name, kind = PAGE_FILES[address]
            return Answer(200, _page_file(name), kind)
        if address == "scene.json":
            return _json(self._scene.document())
        if (match := TILE_ADDRESS.fullmatch(address)) is not None and len(query) <= LONGEST_QUERY:
            number, level, column, row = map(int, match.groups())
            return self._tile(number, level, column, row, query)
        if (match := VALUE_ADDRESS.fullmatch(address)) is not None:
            return self._values(*map(int, match.groups()))
        if (match := LAYER_ADDRESS.fullmatch(address)) is not None and int(match[1]) < len(self._scene.shown):
            return _json(self._scene.shown[int(match[1])].document())
        return NOT_FOUND

    def _tile(self, number: int, level: int, column: int, row: int, query: str) -> Answer:
        if number >= len(self._scene.shown):
            return NOT_FOUND
        shown = self._scene.shown[number]
        finer = FINER_LEVELS if isinstance(shown, FeatureLayer) else 0
        if not shown.grid.has(level, column, row, finer):
            return NOT_FOUND
        try:
            choices = dict(parse_qsl(query, max_num_fields=4))
        except ValueError:
            return NOT_FOUND
        if (options := self._options(shown, choices)) is None:
            return NOT_FOUND
        if isinstance(shown, FeatureLayer):
            return Answer(200, shown.tile(level, column, row), "application/json")
        kind = "image/jpeg" if isinstance(shown, ShownImage) else "image/png"
        key = number, level, column, row, query
        if (kept := self._cache.get(key)) is not None:
            return Answer(200, kept, kind, keep=True)
        try:
            tile = shown.tile(level, column, row, **options)
        except Exception as error:
            # The browser shows what is wrong in place of the pixels, and goes on.
            return Answer(200, _error_tile(_reason(error)), "image/png")
        self._cache.put(key, tile)
        return Answer(200, tile, kind, keep=True)

    def _options(self, shown: Any, choices: Mapping[str, str]) -> dict[str, Any] | None:
        """Return the choices of an address as arguments of `tile`; None if they are impossible."""
        if isinstance(shown, ShownImage):
            if "c" not in choices:
                return {}
            channels = parse_channels(choices["c"], shown.image.info.channels)
            return None if channels is None else {"channels": channels}
        if not isinstance(shown, RasterLayer):
            return {}
        options: dict[str, Any] = {}
        if shown.kind == VALUES and "channel" in choices:
            if not re.fullmatch(r"[0-9]{1,6}", choices["channel"]) or int(choices["channel"]) >= len(shown.scales):
                return None
            options["channel"] = int(choices["channel"])
        if "hidden" in choices and shown.legend is not None:
            values = choices["hidden"].split(".", MOST_HIDDEN)
            if not all(re.fullmatch(r"[0-9]{1,5}", value) for value in values):
                return None
            options["hidden"] = frozenset(map(int, values))
        return options

    def _values(self, pane: int, x: int, y: int) -> Answer:
        if pane >= len(self._scene.panes):
            return NOT_FOUND
        try:
            return _json(self._scene.values(pane, x + 0.5, y + 0.5))
        except Exception as error:
            return _json({"error": _reason(error)})


def _json(document: Any) -> Answer:
    return Answer(200, json.dumps(document, allow_nan=False).encode(), "application/json")


def _reason(error: Exception) -> str:
    if is_out_of_memory(error):
        return "memory ran out"
    return (
        str(getattr(error, "reason", "")) or str(error) if isinstance(error, FitError | OSError) else "cannot be read"
    )


def _error_tile(text: str) -> bytes:
    """Return a picture in the size of a tile that says what is wrong."""
    pixels = np.full((TILE, TILE, 3), (72, 20, 20), np.uint8)
    pixels[[0, -1], :] = pixels[:, [0, -1]] = (200, 80, 80)
    lines, words = [""], " ".join(text.split())[:160].split(" ")
    for word in words:
        if len(lines[-1]) + len(word) > 32:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    for number, line in enumerate(lines[:8]):
        draw_text(pixels, fitting_text(line, 14, TILE - 24), (20 + 20 * number, 12), 14, (255, 220, 220))
    return png_bytes(pixels)


@cache
def _page_file(name: str) -> bytes:
    return (files("fitcli.view") / "page" / name).read_bytes()
