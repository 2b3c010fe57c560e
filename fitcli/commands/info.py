"""`fit info`: what image files are, without decoding a pixel, and what runs are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from fitcli import console
from fitcli.commands.options import Images, Json
from fitcli.errors import CheckpointError, ImageError

if TYPE_CHECKING:
    from fitcli.images.base import ImageInfo


ONLY_IN_JSON = ("tasks", "thresholds", "sharpening")
"""Properties of runs that would be long rows of a table; `classes` names the targets."""


def info(images: Images, as_json: Json = False) -> None:
    """Show size, pyramid levels, data type and resolution of images; model, classes and best scores of run folders."""
    from fitcli.images.open import matching_paths
    from fitcli.runs.config import is_run

    described: list[dict[str, Any]] = []
    paths = matching_paths(images)
    for path in paths:
        try:
            described.append(_describe_run(path) if is_run(path) else describe(path))
        except (ImageError, CheckpointError) as error:
            console.error(str(error))
    if as_json:
        console.json(described)
    else:
        for number, one in enumerate(described):
            if number:
                console.data("")
            columns, *rows = one.items()
            console.table(columns, [(name, show(value)) for name, value in rows if name not in ONLY_IN_JSON])
    if len(described) < len(paths):
        raise typer.Exit(1)


def describe(path: Path) -> dict[str, Any]:
    """Return the properties of an image, as `--json` prints them.

    Raises:
        ImageError: There is no image at the path.
    """
    from fitcli.images.numbers import number_text
    from fitcli.images.open import open_image, stored_bytes

    with open_image(path) as image:
        found = image.info
    features = {} if found.features is None else {"features": _describe_features(found)}
    return {
        "path": str(path),
        "format": found.format,
        "width": found.width,
        "height": found.height,
        "channels": found.channels,
        "dtype": found.dtype.name,
        "axes": found.axes,
        "levels": [{"width": at.width, "height": at.height, "downsample": at.downsample} for at in found.levels],
        "chunk": None if found.chunk is None else list(found.chunk),
        "mpp": found.mpp,
        # Often NaN, which JSON cannot express.
        "nodata": None if found.nodata is None else number_text(found.nodata),
        "bytes": stored_bytes(path),
        **features,
    }


def _describe_features(found: ImageInfo) -> dict[str, Any]:
    """Return what is known of the places of an image of features."""
    grid = found.features
    assert grid is not None
    known = {
        "rows": found.height,
        "columns": found.width,
        "values": found.channels,
        "missing places": grid.missing,
        "patch": grid.patch,
        "distance of patches": grid.side,
        "first patch": [grid.left, grid.top],
        "slide": None if grid.slide is None else [grid.slide[1], grid.slide[0]],
        "slide mpp": grid.mpp,
        "magnification": grid.magnification,
        "patches off the grid": grid.moved,
        "patches left out": grid.dropped,
    }
    return {name: value for name, value in known.items() if value is not None}


def _describe_run(folder: Path) -> dict[str, Any]:
    from fitcli.training.checkpointing.run_description import describe_run

    return describe_run(folder)


def show(value: Any) -> str | list[str]:
    """Return a value of `describe` or `describe_run` as one line of text, or as several."""
    if isinstance(value, dict):
        return [f"{name}: {_line(one)}" for name, one in value.items()] or "-"
    if isinstance(value, list) and value and isinstance(value[0], dict) and "downsample" in value[0]:
        return [f"{level['width']} x {level['height']} (1 : {level['downsample']:g})" for level in value]
    if isinstance(value, list) and value and all(isinstance(one, int) for one in value):
        return " x ".join(map(str, value))
    return _line(value)


def _line(value: Any) -> str:
    """Return a value as one line of text."""
    if isinstance(value, list):
        return ", ".join(map(_line, value)) or "-"
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
