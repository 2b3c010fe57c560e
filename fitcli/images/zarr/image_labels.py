"""Finds the label images inside an OME-Zarr image; reads and writes names and colours of values (NGFF `image-label`).

It works on the metadata alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fitcli.errors import ImageError
from fitcli.images.zarr.chunks import StoreFiles
from fitcli.images.zarr.documents import group_attributes

FOLDER = "labels"
"""Group inside an image that holds its label images."""

MOST_LABELS = 1000
"""Largest number of label images inside an image."""


class ValueNames(NamedTuple):
    """What the metadata of a label image say about its values.

    Attributes:
        names: Name by value.
        colors: Red, green and blue by value.
    """

    names: dict[int, str]
    colors: dict[int, tuple[int, int, int]]


def label_images(image: Path) -> tuple[str, ...]:
    """Return the names of the label images inside an OME-Zarr image; () if there are none.

    Raises:
        ImageError: The metadata are damaged, or lead out of the image.
    """
    names = _attributes(image, image / FOLDER).get(FOLDER)
    if not isinstance(names, list):
        return ()
    if len(names) > MOST_LABELS:
        raise ImageError(image, f"lists {len(names):,} label images; fit reads at most {MOST_LABELS:,}")
    for name in names:
        if not isinstance(name, str) or any(part in ("", ".", "..") for part in name.split("/")) or "\\" in name:
            raise ImageError(image, f"lists a label image {name!r}, which is not inside it; the metadata is forged")
    return tuple(dict.fromkeys(names))


def value_names(label_image: Path) -> ValueNames:
    """Return the names and colours of the values of a label image, as far as its metadata give them.

    Raises:
        ImageError: The metadata are damaged.
    """
    described = _attributes(label_image, label_image).get("image-label")
    described = described if isinstance(described, dict) else {}
    names, colors = {}, {}
    for value, entry in _entries(described.get("properties")):
        name = entry.get("class", entry.get("name"))
        if isinstance(name, str) and name.strip():
            names[value] = name.strip()
    for value, entry in _entries(described.get("colors")):
        color = entry.get("rgba")
        if isinstance(color, list) and len(color) >= 3 and all(isinstance(c, int) and 0 <= c < 256 for c in color[:3]):
            colors[value] = (color[0], color[1], color[2])
    return ValueNames(names, colors)


def described_values(
    names: Sequence[str], palette: Sequence[tuple[int, int, int]], nodata: float | None
) -> dict[str, Any]:
    """Return the metadata `image-label` of a label image.

    Args:
        names: Names of the values 0, 1, ...
        palette: Red, green and blue by value; empty for the colours of the viewer.
        nodata: Value of pixels without a class, which is transparent; None without one.
    """
    colors = [{"label-value": value, "rgba": [*color, 255]} for value, color in enumerate(palette[: len(names)])]
    if palette and nodata is not None:
        colors.append({"label-value": int(nodata), "rgba": [0, 0, 0, 0]})
    properties = [{"label-value": value, "class": name} for value, name in enumerate(names)]
    return {"version": "0.5", "properties": properties} | ({"colors": colors} if colors else {})


def _attributes(root: Path, group: Path) -> dict[str, Any]:
    """Return the OME-Zarr attributes of a group; {} if it is none."""
    try:
        StoreFiles(root, group).check_metadata()
        attributes = group_attributes(group)
    except (ValueError, RecursionError, AttributeError) as error:
        raise ImageError(group, f"has metadata that are no JSON ({' '.join(str(error).split())[:200]})") from None
    ome = attributes.get("ome")
    return ome if isinstance(ome, dict) else attributes


def _entries(items: Any) -> list[tuple[int, dict[str, Any]]]:
    """Return (value, entry) of the entries for a value."""
    entries = [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
    values = [(entry.get("label-value"), entry) for entry in entries]
    return [(int(v), e) for v, e in values if isinstance(v, int | float) and not isinstance(v, bool) and v == v // 1]
