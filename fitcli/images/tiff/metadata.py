"""What a TIFF file says about itself beside pixels: its kind, microns per pixel, missing values, other files.

Reads tags that tifffile has parsed. Decodes nothing.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from fitcli.errors import ImageError
from fitcli.images.georeference import DOUBLES_TAG, TEXT_TAG, GeoReference
from fitcli.images.lengths import microns

FORMATS = {
    "ome": "OME-TIFF",
    "svs": "SVS",
    "ndpi": "NDPI",
    "imagej": "ImageJ TIFF",
    "scn": "SCN",
    "qpi": "QPTIFF",
    "bif": "BIF",
    "philips": "Philips TIFF",
}
"""tifffile's word for a kind of file -> ours; any other kind is a "TIFF"."""

GEO_TAGS = {
    "scale": 33550,
    "tiepoints": 33922,
    "transformation": 34264,
    "keys": 34735,
    "doubles": DOUBLES_TAG,
    "text": TEXT_TAG,
}
"""Where the fields of a `GeoReference` are in a file."""

MAP_TAGS = tuple(GEO_TAGS[field] for field in ("scale", "tiepoints", "transformation", "keys"))
"""A file with one of these is a map: its resolution tags are left over from the software that made it."""

MOST_GEO_VALUES = 100_000
"""Numbers or letters of one of its tags that are read."""

MOST_ELEMENTS = 200_000
"""Of XML or JSON in the text of a file: each takes half a kilobyte when parsed."""

SCREEN_AND_PRINT_DPI = (72, 96, 150, 300)
"""Resolutions that software writes when it knows none."""


def check_description(file: Any, path: Path) -> None:
    """Look at the text of the first page before anything parses it.

    Raises:
        ImageError: Parsing it would take more memory than there may be.
    """
    text = file.pages.first.description if len(file.pages) else ""
    if sum(map(text.count, "<[{")) > MOST_ELEMENTS:
        raise ImageError(
            path, f"has a description too long to be read ({len(text):,} characters); export the image without it"
        )


def ome_mpp(xml: str, width: int, height: int) -> float | None:
    """Microns per pixel of the image of this size in an OME-XML document."""
    for pixels in _elements(xml, "Pixels"):
        if (pixels.get("SizeX"), pixels.get("SizeY")) != (str(width), str(height)):
            continue
        size = pixels.get("PhysicalSizeX")
        return None if size is None else microns(_number(size), pixels.get("PhysicalSizeXUnit", "µm"))
    return None


def ome_other_file(xml: str, own_name: str) -> str | None:
    """Name of another file that an OME-XML document takes pixels or metadata from; None where it is self-contained.

    Decided from the text alone: nothing that it names is looked at.
    """
    for element in _elements(xml, "BinaryOnly"):
        return element.get("MetadataFile", "another file")
    own = next((root.get("UUID") for root in _elements(xml, "OME")), None)
    for element in _elements(xml, "UUID"):
        name = element.get("FileName", "")
        if own is None and name.lower() == own_name.lower():
            own = element.text
        elif element.text != own or own is None:
            return name or "another file"
    return None


def aperio_mpp(description: str) -> float | None:
    """Microns per pixel from "MPP = 0.25" in an image description as Aperio scanners write it."""
    found = re.search(r"\bMPP\s*=\s*([0-9.eE+-]+)", description)
    return microns(_number(found.group(1)), "um") if found else None


def tag_mpp(page: Any, imagej: dict[str, Any] | None) -> float | None:
    """Microns per pixel from the resolution tags; None where they say nothing believable."""
    if any(tag in page.tags for tag in MAP_TAGS) or 282 not in page.tags:
        return None
    numerator, denominator = (float(part) for part in page.tags[282].value)
    if numerator <= 0 or denominator <= 0:
        return None
    pixels_per_unit = numerator / denominator
    unit = int(page.tags[296].value) if 296 in page.tags else 2
    if unit == 1:
        return microns(1 / pixels_per_unit, str((imagej or {}).get("unit", "")))
    mpp = {2: 25400.0, 3: 1e4}.get(unit, math.nan) / pixels_per_unit
    dpi = 25400 / mpp
    if not 0.001 <= mpp <= (20 if unit == 2 else 1000) or any(abs(dpi - usual) < 0.5 for usual in SCREEN_AND_PRINT_DPI):
        return None
    return mpp


def gdal_nodata(page: Any) -> float | None:
    """The value that stands for a missing pixel (tag GDAL_NODATA), as far as it is a number."""
    if 42113 not in page.tags:
        return None
    try:
        return float(str(page.tags[42113].value).strip("\0 "))
    except ValueError:
        return None


def georeference(page: Any) -> GeoReference | None:
    """Where on the Earth a page lies; None where its tags do not say, or nothing that makes sense."""
    found: dict[str, Any] = {}
    try:
        for field, code in GEO_TAGS.items():
            if (tag := page.tags.get(code)) is None:
                continue
            if tag.count > MOST_GEO_VALUES:
                return None
            value, kind = tag.value, {"text": str, "keys": int}.get(field, float)
            values = value if isinstance(value, tuple) else (value,)
            if not all(isinstance(each, kind) for each in values):
                return None
            found[field] = value.rstrip("\0") if field == "text" else values
        return GeoReference(**found)
    except Exception:  # tifffile raises all kinds on damaged tags
        return None


def _elements(xml: str, name: str) -> list[ElementTree.Element]:
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError:
        return []
    return [element for element in root.iter() if element.tag.rpartition("}")[2] == name]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
