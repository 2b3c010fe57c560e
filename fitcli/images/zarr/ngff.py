"""Interprets OME-Zarr (NGFF) metadata: the arrays of an image, their axes, colours, and the size of a pixel.

It works on attributes that are parsed already.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from fitcli.errors import ImageError
from fitcli.images.chunks import MAX_CHANNELS
from fitcli.images.lengths import microns
from fitcli.images.ngff_transform import NgffTransform
from fitcli.images.zarr.documents import MAX_AXES

AXIS_NAMES = {
    "channel": "c", "channels": "c", "band": "c", "bands": "c", "s": "c", "row": "y", "rows": "y", "lat": "y",
    "latitude": "y", "column": "x", "columns": "x", "lon": "x", "longitude": "x", "time": "t", "depth": "z",
    "feature": "c", "features": "c",
}  # fmt: skip
"""Letter of an axis per spelled-out name."""

FEATURE_NAMES = ("feature", "features")
"""Names of the axis of an array of features."""

Default = TypeVar("Default", float, None)
"""Type of what stands for a missing number."""

MAX_LEVELS = 64
"""Largest number of levels: each has half the side of the one before."""

PRIMARIES = ("FF0000", "00FF00", "0000FF")
"""Red, green and blue."""


@dataclass(frozen=True)
class Multiscale:
    """The description of one image.

    Attributes:
        version: NGFF version; None for a plain array.
        axes: Axes in lower case.
        mpp: Microns per pixel at level 0; None if unknown.
        ngff_transform: Coordinates of level 0; None if there are none.
        color: Whether the first three channels are red, green and blue; None if unknown.
        paths: Paths of the arrays in the group, one per level.
        channel_names, channel_colors: Name, and colour as "#RRGGBB", of each channel, "" where it has none.
        name: Name of the image; "" without one.
    """

    version: str | None
    axes: str
    mpp: float | None
    color: bool | None
    paths: tuple[str, ...]
    channel_names: tuple[str, ...] = ()
    channel_colors: tuple[str, ...] = ()
    name: str = ""
    ngff_transform: NgffTransform | None = None


def multiscale(attributes: dict[str, Any], path: Path) -> Multiscale | None:
    """Return the first image that the attributes of a group describe; None if they describe none.

    Raises:
        ImageError: The description is invalid, or leads out of the group.
    """
    ome = attributes.get("ome")
    home = ome if isinstance(ome, dict) else attributes
    images = home.get("multiscales")
    if not images:
        return None
    image = images[0]
    if len(image["datasets"]) > MAX_LEVELS:
        raise ImageError(path, f"lists {len(image['datasets']):,} levels; fit reads at most {MAX_LEVELS}")
    paths = tuple(dict.fromkeys(str(dataset["path"]) for dataset in image["datasets"]))
    for name in paths:
        if not name or any(part in ("", ".", "..") for part in name.split("/")) or "\\" in name:
            raise ImageError(path, f"lists an array at {name!r}, which is not inside it; the metadata is forged")
    if not paths:
        raise ImageError(path, "lists no arrays in its OME-Zarr metadata; export it again")
    described = image.get("axes") or list("tczyx")  # before version 0.3, axes are fixed and not described
    if len(described) > MAX_AXES:
        raise ImageError(path, f"describes {len(described):,} axes; it is damaged or forged")
    axes = [axis if isinstance(axis, dict) else {"name": axis} for axis in described]
    letters = _letters([axis.get("name") for axis in axes])
    if letters is None:
        raise ImageError(
            path, f"has axes that fit does not read: {[axis.get('name') for axis in axes]}; name them t, c, z, y, x"
        )
    version = home.get("version") or image.get("version") or "0.1"
    channels = _channels(home)
    colors = [str(channel.get("color", "")).lstrip("#").upper() for channel in channels]
    return Multiscale(
        version=str(version),
        axes=letters,
        mpp=_mpp(image, axes, letters),
        color=_color(home),
        paths=paths,
        channel_names=tuple(" ".join(str(channel.get("label") or "").split()) for channel in channels),
        channel_colors=tuple(f"#{color}" if re.fullmatch("[0-9A-F]{6}", color) else "" for color in colors),
        name=" ".join(str(image.get("name") or "").split()),
        ngff_transform=_transform(image, axes, letters),
    )


def array_axes(shape: tuple[int, ...], names: Sequence[Any] | None) -> str:
    """Return the axes of a plain array, from the names of its axes or else from its shape.

    By shape, an axis of at most 4 is channels, the last one if both ends are that short; else two sides of equal length
    are y and x; else the last axis is channels if it is shorter than the first, otherwise the first.

    Raises:
        ValueError: The array cannot be an image.
    """
    letters = _letters(names) if names and len(names) == len(shape) else None
    if letters is not None:
        return letters
    extra, image = (shape[:-3], shape[-3:]) if len(shape) > 3 else ((), shape)
    if len(image) < 2:
        raise ValueError("holds an array of fewer than two axes, which is no image; give another array")
    if any(length != 1 for length in extra) or len(extra) > 2:
        raise ValueError(f"holds an array of shape {shape} whose axes are unknown; name its axes, or save one plane")
    prefix = {0: "", 1: "z", 2: "tz"}[len(extra)]
    if len(image) == 2:
        return "yx"
    first, middle, last = image
    if min(first, last) > 4 and (first == middle) != (middle == last):
        return prefix + ("yxc" if first == middle else "cyx")
    return prefix + ("yxc" if last <= 4 or last < first else "cyx")


def names_features(names: Sequence[Any] | None) -> bool:
    """Return whether one of the names of axes is that of features."""
    return any(str(name).lower() in FEATURE_NAMES for name in names or ())


def check_axes(axes: str, shape: tuple[int, ...], path: Path) -> None:
    """Raise `ImageError` unless an array has one name per axis."""
    if len(axes) != len(shape):
        raise ImageError(path, f"names {len(axes)} axes ({axes}) for an array of {len(shape)}; export it again")


def _letters(names: Sequence[Any]) -> str | None:
    """Return one lower-case letter per axis; None unless y and x are among them and no letter occurs twice."""
    letters = []
    for name in names:
        letter = str(name).lower()
        letters.append(AXIS_NAMES.get(letter, letter))
    valid = all(len(letter) == 1 for letter in letters) and len(set(letters)) == len(letters)
    return "".join(letters) if valid and {"y", "x"} <= set(letters) else None


def _mpp(image: dict[str, Any], axes: list[dict[str, Any]], letters: str) -> float | None:
    """Return the microns per pixel along x at level 0: its scale times the scale of the whole image, in axis units."""
    at = letters.index("x")
    unit = axes[at].get("unit")
    scales = [_scale(image["datasets"][0], at), _scale(image, at)]
    if not unit or scales[0] is None:
        return None
    return microns(math.prod(scale for scale in scales if scale is not None), str(unit))


def _transform(image: dict[str, Any], axes: list[dict[str, Any]], letters: str) -> NgffTransform | None:
    """Return the coordinates of level 0: those of its array, then the scale and translation of the whole image.

    A transform that is impossible, or in two units, counts as none: viewers show such an image at the origin.
    """
    places = [letters.index(axis) for axis in "yx"]
    units = {str(axes[at].get("unit") or "") for at in places}
    inner, outer = image["datasets"][0], image
    if len(units) > 1:
        return None
    scales, origins = [], []
    try:
        for at in places:
            scale, whole = _number(inner, "scale", at, 1.0), _number(outer, "scale", at, 1.0)
            scales.append(scale * whole)
            origins.append(_number(inner, "translation", at, 0.0) * whole + _number(outer, "translation", at, 0.0))
        return NgffTransform(scale=(scales[0], scales[1]), origin=(origins[0], origins[1]), unit=units.pop())
    except (ValueError, TypeError, IndexError):
        return None


def _scale(described: dict[str, Any], at: int) -> float | None:
    return _number(described, "scale", at, None)


def _number(described: dict[str, Any], kind: str, at: int, default: Default) -> float | Default:
    """Return the number of an axis in the first transformation of a kind."""
    for transformation in described.get("coordinateTransformations") or []:
        if transformation.get("type") == kind and isinstance(transformation.get(kind), list):
            return float(transformation[kind][at])
    return default


def _color(home: dict[str, Any]) -> bool | None:
    """Return whether the first three channels are shown in pure red, green and blue; None if colours are not given."""
    colors = tuple(str(channel.get("color", "")).upper() for channel in _channels(home)[:3])
    return colors == PRIMARIES if any(colors) else None


def _channels(home: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what the metadata say about each channel; [] if that is nothing."""
    omero = home.get("omero")
    channels = omero.get("channels") if isinstance(omero, dict) else None
    if not isinstance(channels, list) or not all(isinstance(channel, dict) for channel in channels):
        return []
    return channels[:MAX_CHANNELS]
