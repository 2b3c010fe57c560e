"""Finds the images of a TIFF, the planes of each, and what the file says about them.

It works on series that tifffile has parsed.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from fitcli.errors import ImageError, UnreadableAs
from fitcli.images.contents import Series
from fitcli.images.plane_axes import KNOWN, ChosenPlanes, plane_number
from fitcli.images.plane_choice import PlaneChoice
from fitcli.images.tiff.metadata import FORMATS, gdal_band_names, ome_other_file

NDPI_MAGNIFICATION = 65421
"""Tag of Hamamatsu files."""

NAMED_SERIES = 64
"""Most series that an error names."""


@dataclass(frozen=True, slots=True)
class TiffImage:
    """An image in a TIFF.

    Attributes:
        series: Its largest level.
        smaller: Its smaller levels, largest first.
        axes: Axes in upper case, without those of length 1 other than Y and X.
        sizes: Length along each.
        page_axes: Axes of `axes` along which pages lie.
    """

    series: Any
    smaller: tuple[Any, ...]
    axes: str
    sizes: tuple[int, ...]
    page_axes: str

    @property
    def sample_axes(self) -> str:
        """Axes along which the samples of a pixel lie."""
        return "".join(axis for axis in self.axes if axis not in "YX" and axis not in self.page_axes)

    @property
    def page_sizes(self) -> tuple[int, ...]:
        """Number of pages along each of the axes of pages."""
        lengths = dict(zip(self.axes, self.sizes, strict=True))
        return tuple(lengths[axis] for axis in self.page_axes)

    @property
    def page_count(self) -> int:
        """Number of pages of a level."""
        return math.prod(self.page_sizes)

    def page_numbers(self, planes: ChosenPlanes, most: int) -> list[int] | int:
        """Return the pages that are read: all channels, for each focal plane of a projection in turn.

        Of more than `most` pages only the count is returned: a damaged file may claim any number of them.
        """
        renamed = "".join(planes.axes[self.axes.index(axis)] for axis in self.page_axes)
        sizes = dict(zip(renamed, self.page_sizes, strict=True))
        channels = [axis for axis in renamed if axis in "CS"]
        stack = range(planes.focal_planes) if "Z" in renamed and planes.projection else [planes.places.get("Z", 0)]
        count = len(stack) * math.prod(sizes[axis] for axis in channels)
        if count > most:
            return count
        numbers = []
        for z in stack:
            for place in itertools.product(*(range(sizes[axis]) for axis in channels)):
                places = {**planes.places, "Z": z, **dict(zip(channels, place, strict=True))}
                numbers.append(plane_number(renamed, self.page_sizes, places))
        return numbers


def refuse_companion(file: Any, path: Path) -> None:
    """Refuse a file whose OME-XML lies in another file.

    Raises:
        ImageError: It does.
    """
    xml: str | None = file.ome_metadata
    if xml and "BinaryOnly" in xml and (other := ome_other_file(xml, path.name)) is not None:
        raise ImageError(path, f"takes its description from another file ({other}); export it to one file")


def missing_page(file: Any, number: int, count: int, name: str) -> str:
    """Return why a page is not in the file."""
    other = ome_other_file(file.ome_metadata, name) if file.ome_metadata else None
    if other is not None:
        return f"takes pixels from another file ({other}); export the image to one self-contained file"
    return f"lacks page {number + 1} of {count}; copy or export it again"


def tiff_images(file: Any) -> list[TiffImage]:
    """Return the images of a file, in the order in which they are stored."""
    every = [series for series in file.series if _area(series)]
    if not every:
        return []
    largest = max(every, key=_area)
    levels = {id(largest): list(largest.levels[1:]) or _reduced(every, largest)}
    used = {id(level) for level in levels[id(largest)]}
    images = []
    for series in every:
        if id(series) not in used:
            images.append(_image(series, levels.get(id(series), list(series.levels[1:]))))
    return images


def chosen_image(images: Sequence[TiffImage], choice: PlaneChoice, path: Path) -> TiffImage:
    """Return the chosen image, or the largest.

    Raises:
        ImageError: There is none.
    """
    if not images:
        raise ImageError(path, "holds no image; copy or export it again")
    if choice.series is None:
        return max(images, key=lambda image: _area(image.series))
    names = [str(image.series.name or "") for image in images]
    number = choice.series_number(names)
    if number is None:
        raise UnreadableAs(path, no_series(choice, names))
    return images[number]


def no_series(choice: PlaneChoice, names: Sequence[str]) -> str:
    """Return the message for a series that does not exist, given the names of all."""
    have = f"numbers 0 to {len(names) - 1}" if len(names) > 1 else "number 0"
    known = [name for name in names if name]
    named = f" ({', '.join(known[:NAMED_SERIES])}{', ...' if len(known) > NAMED_SERIES else ''})" if known else ""
    return f"has no series {choice.series}, only {have}{named}; give another --series"


def describe_image(file: Any, image: TiffImage) -> Series:
    """Return what a file says about an image."""
    lengths = dict(zip(image.axes, image.sizes, strict=True))
    height, width = lengths["Y"], lengths["X"]
    described = _ome_image(file, image)
    names, colors = _ome_channels(described)
    if not any(names):
        names = gdal_band_names(image.series.keyframe, lengths.get("C", 1) * lengths.get("S", 1))
    return Series(
        name=" ".join(str(image.series.name or "").split()),
        height=height,
        width=width,
        axes=image.series.axes,
        focal_planes=lengths.get("Z", 1),
        time_points=lengths.get("T", 1),
        pages=math.prod(size for axis, size in zip(image.axes, image.sizes, strict=True) if axis not in KNOWN),
        channels=lengths.get("C", 1) * lengths.get("S", 1),
        levels=1 + len(image.smaller),
        channel_names=names if any(names) else (),
        channel_colors=colors if any(colors) else (),
        magnification=_magnification(file, image, described),
    )


def image_description(file: Any, image: TiffImage) -> str:
    """Return the text that is stored with an image: Description in OME-XML, else ImageDescription."""
    element = _ome_image(file, image)
    if element is None:
        return str(image.series.keyframe.description)
    return next((each.text or "" for each in element if each.tag.rpartition("}")[2] == "Description"), "")


def image_xml(file: Any, image: TiffImage) -> str | None:
    """Return the part of OME-XML that describes an image; None without one."""
    element = _ome_image(file, image)
    return None if element is None else ElementTree.tostring(element, encoding="unicode")


def _image(series: Any, levels: Sequence[Any]) -> TiffImage:
    axes, sizes, page_axes = _axes(series)
    fitting = [level for level in sorted(levels, key=_area, reverse=True) if _alike(level, series)]
    return TiffImage(series, tuple(fitting), axes, sizes, page_axes)


def _axes(series: Any) -> tuple[str, tuple[int, ...], str]:
    """Return the axes that are longer than 1 and Y and X, their lengths, and those of them along which pages lie."""
    kept = [(axis, size) for axis, size in zip(series.axes, series.shape, strict=True) if size > 1 or axis in "YX"]
    axes, sizes = "".join(axis for axis, _ in kept), tuple(int(size) for _, size in kept)
    before = axes[: axes.find("Y")]
    separate = int(series.keyframe.samplesperpixel) > 1 and int(series.keyframe.planarconfig) == 2
    return axes, sizes, before[:-1] if separate else before


def _alike(level: Any, series: Any) -> bool:
    """Return whether a level has the axes and the planes of the full size."""
    (axes, sizes, _), (others, lengths, _) = _axes(level), _axes(series)
    planes = [(axis, size) for axis, size in zip(axes, sizes, strict=True) if axis not in "YX"]
    return axes == others and planes == [
        (axis, size) for axis, size in zip(others, lengths, strict=True) if axis not in "YX"
    ]


def _area(series: Any) -> int:
    sizes = dict(zip(series.axes, series.shape, strict=True))
    return int(sizes.get("Y", 0)) * int(sizes.get("X", 0))


def _reduced(every: Sequence[Any], series: Any) -> list[Any]:
    """Return the levels of reduced pages of the same aspect ratio, of a format that does not say what they are."""
    if FORMATS.get(series.kind) is not None:
        return []
    height, width = series.keyframe.imagelength, series.keyframe.imagewidth
    levels: list[Any] = []
    for other in every:
        page = other.keyframe
        ratio_y, ratio_x = height / page.imagelength, width / page.imagewidth
        # Rounding to whole pixels changes a side by less than one pixel.
        alike = abs(page.imagelength - height / ratio_x) <= 1 or abs(page.imagewidth - width / ratio_y) <= 1
        if other is not series and page.is_reduced and page.imagewidth < width and alike:
            levels += other.levels
    return levels


def _ome_image(file: Any, image: TiffImage) -> Any:
    """Return the element of an image in OME-XML; None without one. tifffile leaves out images without pixels."""
    if not file.ome_metadata or image.series.kind != "ome":
        return None
    try:
        root = ElementTree.fromstring(file.ome_metadata)
    except ElementTree.ParseError:
        return None
    lengths = dict(zip(image.series.axes, image.series.shape, strict=True))
    size = {"SizeX": str(lengths["X"]), "SizeY": str(lengths["Y"])}
    earlier = 0
    for other in file.series:
        if other is image.series:
            break
        earlier += other.name == image.series.name and other.shape == image.series.shape
    same = [
        element
        for element in _named(root, "Image")
        if (element.get("Name") or "") == (image.series.name or "")
        and any(all(pixels.get(key) == value for key, value in size.items()) for pixels in _named(element, "Pixels"))
    ]
    return same[min(earlier, len(same) - 1)] if same else None


def _ome_channels(element: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the name and the colour of each channel; those of several samples have none."""
    names: list[str] = []
    colors: list[str] = []
    for channel in [] if element is None else _named(element, "Channel"):
        samples = channel.get("SamplesPerPixel", "1")
        count = int(samples) if re.fullmatch("[0-9]{1,4}", samples) else 1
        names += [" ".join((channel.get("Name") or "").split()) if count == 1 else ""] * count
        colors += [_color(channel.get("Color")) if count == 1 else ""] * count
    return tuple(names), tuple(colors)


def _color(text: str | None) -> str:
    """Return a colour of OME-XML, a signed integer of red, green, blue and alpha, as "#RRGGBB"; "" without one."""
    if text is None or not re.fullmatch("-?[0-9]{1,10}", text):
        return ""
    return f"#{(int(text) % 2**32) >> 8:06X}"


def _magnification(file: Any, image: TiffImage, element: Any) -> float | None:
    """Return the magnification of the objective; None if the file does not say it."""
    keyframe = image.series.keyframe
    if element is not None:
        wanted = {each.get("ID") for each in _named(element, "ObjectiveSettings")}
        root = ElementTree.fromstring(file.ome_metadata)
        found = [each for each in _named(root, "Objective") if not wanted or each.get("ID") in wanted]
        return _positive(found[0].get("NominalMagnification")) if found else None
    if NDPI_MAGNIFICATION in keyframe.tags:
        return _positive(keyframe.tags[NDPI_MAGNIFICATION].value)
    match = re.search(r"\bAppMag\s*=\s*([0-9.]+)", keyframe.description)
    return _positive(match[1]) if match else None


def _positive(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if 0 < number < math.inf else None


def _named(element: Any, name: str) -> list[Any]:
    return [each for each in element.iter() if each.tag.rpartition("}")[2] == name]
