"""Writes found objects: GeoJSON for QuPath and GIS programs, GeoPackage, COCO JSON and CSV, one object at a time.

All but GeoPackage may be compressed (`.gz`), and the same objects give the same bytes.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitcli.annotations.feature_writer import NamedClasses
from fitcli.annotations.features import placement_for
from fitcli.annotations.geojson_writer import COMPRESSION, NAMESPACE, crs_member, json_text
from fitcli.annotations.geopackage_file import POINT, POLYGON, GeoPackageFile, class_values
from fitcli.annotations.geopackage_reader import SUFFIX as GEOPACKAGE
from fitcli.annotations.objects.found_objects import FoundObjects
from fitcli.annotations.placement import DIGITS, Placement
from fitcli.errors import ImageError
from fitcli.images.base import ImageInfo
from fitcli.images.publishing import ImagePublication, cannot_write

GEOJSON, CSV, COCO = (".geojson", ".geojson.gz"), (".csv", ".csv.gz"), (".json", ".json.gz")

WRITTEN_SUFFIXES = (*GEOJSON, GEOPACKAGE, *CSV, *COCO)
"""Suffixes of files of found objects, in lower case."""

TABLE, COLUMNS = "objects", {"class": "TEXT", "color": "TEXT", "score": "DOUBLE"}
"""Name of the table of a GeoPackage, and its columns beside the geometry."""

SCORE_DIGITS = 4
"""Decimal digits of scores."""


def write_objects(
    path: Path, found: FoundObjects, table: NamedClasses, info: ImageInfo, image: Path, in_pixels: bool = False
) -> None:
    """Write the objects of one image. The file appears whole or not at all.

    GeoJSON and GeoPackage of an image with a georeference have coordinates on the Earth, unless you ask for pixels; all
    else is in pixels of level 0. A GeoPackage has pixels with y upwards, see `open_features`.

    Args:
        path: The file; its suffix names the format.
        found: The objects.
        table: Names and colours of the classes.
        info: Description of level 0 of the image.
        image: The image.
        in_pixels: Whether coordinates are pixels even if the image lies on the Earth.

    Raises:
        ImageError: The name has another suffix, the georeference is not affine, or the file cannot be written.
    """
    name = path.name.lower()
    if name.endswith(GEOPACKAGE):
        placement = placement_for(path, info, in_pixels, upwards=True)
        write = partial(_write_package, found=found, table=table, placement=placement)
    else:
        lines = _lines(path, found, table, info, image, in_pixels)
        write = partial(_write_lines, lines=lines, packed=name.endswith(".gz"))
    publication = ImagePublication(path)
    try:
        write(publication.path)
        publication.publish()
    except BaseException as error:
        publication.discard()
        if isinstance(error, OSError):
            raise cannot_write(path, error) from error
        raise


def _lines(
    path: Path, found: FoundObjects, table: NamedClasses, info: ImageInfo, image: Path, in_pixels: bool
) -> Iterator[str]:
    """Return the text of a file, whose name says its format."""
    name = path.name.lower()
    if name.endswith(GEOJSON):
        return geojson_lines(found, table, placement_for(path, info, in_pixels))
    if name.endswith(CSV):
        return csv_lines(found, table, image)
    if name.endswith(COCO):
        return coco_lines(found, table, info, image)
    raise ImageError(path, f"objects are written as {', '.join(WRITTEN_SUFFIXES)}; choose such a name")


def _write_lines(path: Path, lines: Iterator[str], packed: bool) -> None:
    with path.open("xb") as file:
        encoded = (line.encode("utf-8", "replace") for line in lines)
        if not packed:
            file.writelines(encoded)
            return
        # Without name and time, equal contents have equal bytes.
        with gzip.GzipFile("", "wb", COMPRESSION, file, mtime=0) as compressed:
            compressed.writelines(encoded)


def _write_package(path: Path, found: FoundObjects, table: NamedClasses, placement: Placement) -> None:
    classes = class_values(table)
    package = GeoPackageFile(path, TABLE, POINT if found.are_points else POLYGON, COLUMNS, placement.epsg)
    try:
        for box, score, kind in zip(found.boxes, found.scores, found.numbers.tolist(), strict=True):
            package.add([_outline(box, found.are_points, placement)], (*classes[kind], _score(score)))
        package.finish()
    finally:
        package.release()


def geojson_lines(found: FoundObjects, table: NamedClasses, placement: Placement) -> Iterator[str]:
    """Yield the text of a FeatureCollection of detections as QuPath reads them, one per line."""
    crs = "" if placement.epsg is None else f'"crs":{json_text(crs_member(placement.epsg))},'
    yield f'{{"type":"FeatureCollection",{crs}"features":['
    classes = [
        {"name": name} | ({} if color is None else {"color": list(color)})
        for name, color in zip(table.names, table.colors, strict=True)
    ]
    for number, (box, score, kind) in enumerate(zip(found.boxes, found.scores, found.numbers.tolist(), strict=True)):
        geometry = json_text(_geometry(box, found.are_points, placement))
        properties = {
            "objectType": "detection",
            "classification": classes[kind],
            "class": classes[kind]["name"],
            "measurements": {"score": _score(score)},
            "score": _score(score),
        }
        identity = uuid.uuid5(NAMESPACE, f"{classes[kind]['name']!a} {geometry}")
        yield (
            f'{"," if number else ""}\n{{"type":"Feature","id":"{identity}","geometry":{geometry},'
            f'"properties":{json_text(properties)}}}'
        )
    yield "\n]}\n"


def _geometry(box: NDArray[Any], is_point: bool, placement: Placement) -> dict[str, Any]:
    points = _outline(box, is_point, placement).tolist()
    return {"type": "Point", "coordinates": points[0]} if is_point else {"type": "Polygon", "coordinates": [points]}


def _outline(box: NDArray[Any], is_point: bool, placement: Placement) -> NDArray[Any]:
    """Return the closed outline of a box, or a point [1 2], in the coordinates of a file."""
    left, top, right, bottom = box.tolist()
    corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    return placement.ring(np.array(corners[:1] if is_point else corners))


def csv_lines(found: FoundObjects, table: NamedClasses, image: Path) -> Iterator[str]:
    """Yield the lines of a CSV file that `fit train` reads, with a column of scores."""
    sides = ("x", "y") if found.are_points else ("xmin", "ymin", "xmax", "ymax")
    yield _csv_line(("path", *sides, "label", "score"))
    for box, score, kind in zip(found.boxes, found.scores, found.numbers.tolist(), strict=True):
        numbers = (f"{value:.{DIGITS}f}".rstrip("0").rstrip(".") for value in box[: len(sides)].tolist())
        yield _csv_line((str(image), *numbers, table.names[kind], _score(score)))


def _csv_line(cells: tuple[object, ...]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def coco_lines(found: FoundObjects, table: NamedClasses, info: ImageInfo, image: Path) -> Iterator[str]:
    """Yield the text of a COCO file of one image, with scores; a point is a box without a size."""
    entry = {"id": 1, "file_name": image.name, "width": info.width, "height": info.height}
    categories = [{"id": number + 1, "name": name} for number, name in enumerate(table.names)]
    yield f'{{"images":[{json_text(entry)}],"categories":{json_text(categories)},"annotations":['
    for number, (box, score, kind) in enumerate(zip(found.boxes, found.scores, found.numbers.tolist(), strict=True)):
        left, top, right, bottom = box.tolist()
        sides = [round(value, DIGITS) for value in (left, top, right - left, bottom - top)]
        annotation = {
            "id": number + 1,
            "image_id": 1,
            "category_id": kind + 1,
            "bbox": sides,
            "area": round(sides[2] * sides[3], DIGITS),
            "iscrowd": 0,
            "score": _score(score),
        }
        yield f"{',' if number else ''}\n{json.dumps(annotation)}"
    yield "\n]}\n"


def _score(score: float) -> float:
    return round(float(score), SCORE_DIGITS)
