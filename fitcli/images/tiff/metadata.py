"""Interprets the metadata of TIFF files: format, microns per pixel, missing values, georeference, references to files.

It works on tags that tifffile has parsed.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from fitcli.errors import ImageError
from fitcli.images.georeference import DOUBLES_TAG, TEXT_TAG, GeoReference
from fitcli.images.lengths import microns
from fitcli.images.numbers import exact_number

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
"""Name of a format per name that tifffile uses. Any other format is "TIFF"."""

XMP_TAG = 700

GDAL_METADATA_TAG = 42112
"""Tag of the XML in which GDAL keeps what TIFF has no tags for."""

MAX_SPACINGS = 1000
"""Largest number of pixel spacings that are read: one per level, and some per image."""

GEO_TAGS = {
    "scale": 33550,
    "tiepoints": 33922,
    "transformation": 34264,
    "keys": 34735,
    "doubles": DOUBLES_TAG,
    "text": TEXT_TAG,
}
"""Tag of each field of a `GeoReference`."""

MAP_TAGS = tuple(GEO_TAGS[field] for field in ("scale", "tiepoints", "transformation", "keys"))
"""A file with one of these tags is a map. Its resolution tags are leftovers of the software that wrote it."""

MAX_GEO_VALUES = 100_000
"""Largest number of values or characters of a georeference tag. Files with more have no georeference."""

MAX_ELEMENTS = 200_000
"""Largest number of XML or JSON elements in the description of a file. Each takes half a kilobyte when parsed."""

SOFTWARE = "fit"
"""Value of the Software tag of the files that this software writes."""

SCREEN_AND_PRINT_DPI = (25.4, 72, 96, 150, 200, 240, 300, 400, 600, 1200)
"""Resolutions that software writes if the true one is unknown, or for a printer. 25.4 is that of libvips."""


def check_description(file: Any, path: Path) -> None:
    """Check the description of the first page before it is parsed.

    Raises:
        ImageError: Parsing it would take too much memory.
    """
    text = file.pages.first.description if len(file.pages) else ""
    if sum(map(text.count, "<[{")) > MAX_ELEMENTS:
        raise ImageError(
            path, f"has a description too long to be read ({len(text):,} characters); export the image without it"
        )


def gdal_band_names(keyframe: Any, count: int) -> tuple[str, ...]:
    """Return the name of each of `count` bands, "" where it has none; () if GDAL's metadata name none."""
    text = keyframe.tags.valueof(GDAL_METADATA_TAG)
    if not isinstance(text, str) or text.count("<") > MAX_ELEMENTS or "DESCRIPTION" not in text:
        return ()
    try:
        items = ElementTree.fromstring(text).iter("Item")
    except ElementTree.ParseError:
        return ()
    names = {item.get("sample"): item.text or "" for item in items if item.get("name") == "DESCRIPTION"}
    # GDAL unescapes a value once more than the XML around it.
    found = tuple(" ".join(html.unescape(names.get(str(band), "")).split()) for band in range(count))
    return found if any(found) else ()


def ome_mpp(xml: str, width: int, height: int) -> float | None:
    """Return the microns per pixel of the first image of this size in an OME-XML document; None if it has none."""
    for pixels in _elements(xml, "Pixels"):
        if (pixels.get("SizeX"), pixels.get("SizeY")) != (str(width), str(height)):
            continue
        size = pixels.get("PhysicalSizeX")
        return None if size is None else microns(_number(size), pixels.get("PhysicalSizeXUnit", "µm"))
    return None


def ome_other_file(xml: str, own_name: str) -> str | None:
    """Return the name of another file that an OME-XML document refers to; None if the document is self-contained.

    Only the text is read, never the file that it names.
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
    """Return the microns per pixel from "MPP = 0.25" in the description that Aperio scanners write; None without it."""
    match = re.search(r"\bMPP\s*=\s*([0-9.eE+-]+)", description)
    return microns(_number(match.group(1)), "um") if match else None


def philips_mpp(description: str) -> float | None:
    """Return the microns per pixel from the XML of a Philips TIFF, whose level 0 has the finest spacing; None without.

    A spacing is two texts in millimetres: between rows, and between columns.
    """
    spacings = re.findall(r'Name="DICOM_PIXEL_SPACING"[^>]{0,200}>([^<]{1,200})<', description)
    texts = [re.findall(r"[0-9.eE+-]+", html.unescape(spacing)) for spacing in spacings[:MAX_SPACINGS]]
    sizes = [microns(_number(text[-1]), "mm") for text in texts if text]
    return min((size for size in sizes if size is not None), default=None)


def ventana_mpp(pages: Iterable[Any]) -> float | None:
    """Return the microns per pixel from the XMP of a Ventana BIF, which one of its pages holds; None without it."""
    for page in pages:
        text = page.tags.valueof(XMP_TAG, b"")
        text = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
        if (match := re.search(r'<iScan\b[^>]{0,10000}\bScanRes\s*=\s*"([^"]{1,40})"', text)) is not None:
            return microns(_number(match[1]), "um")
    return None


def tag_mpp(page: Any, imagej: dict[str, Any] | None) -> float | None:
    """Return the microns per pixel from the resolution tags; None if they are missing or implausible."""
    if (any(tag in page.tags for tag in MAP_TAGS) and not _by_fit(page)) or 282 not in page.tags:
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
    if _by_fit(page):
        return mpp if math.isfinite(mpp) else None
    if not 0.001 <= mpp <= (20 if unit == 2 else 1000) or any(abs(dpi - usual) < 0.5 for usual in SCREEN_AND_PRINT_DPI):
        return None
    return mpp


def _by_fit(page: Any) -> bool:
    """Return whether the resolution tags of a map were written by this software, as the scale of its pixels.

    Other software copies its name with all tags, even into a resized file, but into a BigTIFF only beyond 4 GiB.
    """
    return bool(page.parent.is_bigtiff) and str(page.tags.valueof(305, "")).strip("\0 ") == SOFTWARE


def gdal_nodata(page: Any) -> float | None:
    """Return the value of missing pixels (tag GDAL_NODATA); None if the tag is missing or not a number."""
    return exact_number(str(page.tags[42113].value).strip("\0 ")) if 42113 in page.tags else None


def georeference(page: Any) -> GeoReference | None:
    """Return the georeference of a page; None if its tags are missing or invalid."""
    fields: dict[str, Any] = {}
    try:
        for field, code in GEO_TAGS.items():
            if (tag := page.tags.get(code)) is None:
                continue
            if tag.count > MAX_GEO_VALUES:
                return None
            value, kind = tag.value, {"text": str, "keys": int}.get(field, float)
            values = value if isinstance(value, tuple) else (value,)
            if field == "keys" and len(values) > 3:  # ArcGIS fills the rest of the directory with zeros
                values = values[: 4 * (1 + values[3])]
            if not all(isinstance(each, kind) for each in values):
                return None
            fields[field] = _ascii(page, tag).rstrip("\0") if field == "text" else values
        return GeoReference(**fields)
    except Exception:  # tifffile raises errors of many types on damaged tags
        return None


def _ascii(page: Any, tag: Any) -> str:
    """Return a text with "?" for each byte that is not ASCII: keys count bytes."""
    if tag.value.isascii():
        return str(tag.value)
    file = page.parent.filehandle
    file.seek(tag.valueoffset)
    return "".join(chr(byte) if byte < 128 else "?" for byte in file.read(tag.count))


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
