"""Bounds the numbers of planes that descriptions of a TIFF claim, before tifffile makes a list of them.

tifffile takes the counts of OME-XML, Leica SCN and ImageJ as they are: a text of a kilobyte can describe 10^8 planes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from fitcli.errors import ImageError

MAX_PLANES = 1 << 20
"""Largest number of planes that all images of a file may describe together. Each takes 8 bytes and a microsecond."""

MAX_AXES = 32
"""Largest number of axes of an image."""

MAX_DESCRIPTION = 16 << 20
"""Largest length of a description in characters."""


def check_planes(file: Any, path: Path) -> None:
    """Check the counts in the description of the first page.

    Raises:
        ImageError: They describe too many planes.
    """
    if not len(file.pages):
        return
    text = file.pages.first.description
    if len(text) > MAX_DESCRIPTION:
        raise ImageError(path, f"has a description too long to be read ({len(text):,} characters)")
    if file.is_shaped:
        for page in file.pages:
            _check_shape(page.description, path)
    try:
        count = _ome_planes(file, text) if file.is_ome else _scn_planes(text) if file.is_scn else 0
    except ElementTree.ParseError:  # tifffile then ignores the description
        return
    if count > MAX_PLANES:
        raise ImageError(path, f"describes {count:,} planes; it is damaged or forged")


def _check_shape(text: str, path: Path) -> None:
    """Check the shape in a description that tifffile wrote: the product of a million numbers takes hours."""
    for match in re.finditer(r"shape[^\[(]{0,9}[\[(]([^\])]*)", text):
        if match[1].count(",") > MAX_AXES:
            raise ImageError(path, f"describes an image of {match[1].count(',') + 1:,} axes; it is damaged or forged")


def _ome_planes(file: Any, text: str) -> int:
    """Return the number of planes that tifffile lists for an OME-XML document, or more."""
    root = ElementTree.fromstring(text)
    pages = len(file.pages)
    count = 0
    for pixels in _ending(root, "Pixels"):
        sizes = {name: _number(pixels.get(f"Size{name}")) for name in "XYCZT"}
        starts = {0}
        placed = False
        for data in _ending(pixels, "TiffData"):
            # tifffile visits each page of an entry, and makes room for the planes in front of it.
            once = data.get("NumPlanes", "1" if "IFD" in data.attrib else "0")
            count += _number(data.get("PlaneCount", once)) or pages
            placed = placed or any(_number(data.get(f"First{axis}")) for axis in "CZT")
            starts.add(_number(data.get("IFD")))
        count += math.prod(sizes[axis] for axis in "CZT") if placed else 0
        # It lists as many planes as the size holds the first page that an entry names.
        smallest = min(_samples(file, start) for start in starts) if count <= MAX_PLANES else 1
        count += math.prod(sizes.values()) // smallest
        if count > MAX_PLANES:
            break
    for along in root.iter():  # a modulo annotation divides an axis into steps
        if along.tag.rpartition("}")[2].startswith("ModuloAlong") and along.get("Start") is not None:
            step = abs(float(along.get("Step", "1")))
            extent = abs(float(along.get("End", "0")) - float(along.get("Start", "0")))
            count += (
                min(int(extent / step), MAX_PLANES + 1) if step and math.isfinite(extent / step) else MAX_PLANES + 1
            )
    return count


def _samples(file: Any, index: int) -> int:
    """Return the number of samples of a page; 1 if there is no such page."""
    if not 0 <= index < len(file.pages):
        return 1 << 62  # an entry without a page has no planes
    page = file.pages[index]
    return max(int(page.imagewidth) * int(page.imagelength) * int(page.samplesperpixel), 1)


def _scn_planes(text: str) -> int:
    """Return the number of planes that tifffile lists for the XML of a Leica SCN file, or more."""
    count = 0
    for pixels in _ending(ElementTree.fromstring(text), "pixels"):
        dimensions = list(_ending(pixels, "dimension"))
        most = [max((_number(each.get(axis, "0")) for each in dimensions), default=0) + 1 for axis in "cz"]
        levels = len({each.get("r") for each in dimensions})
        count += most[0] * most[1] * max(levels, 1)
    return count


def _ending(root: ElementTree.Element, name: str) -> Iterator[ElementTree.Element]:
    """Yield the elements whose tag ends with a name, as tifffile finds them."""
    return (element for element in root.iter() if element.tag.endswith(name))


def _number(text: str | None) -> int:
    """Return a number of at least 0; 0 if the text is none, which tifffile refuses."""
    try:
        return max(int(text or "0"), 0)
    except ValueError:
        return 0
