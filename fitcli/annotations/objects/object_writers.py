"""Writes found objects: GeoJSON for QuPath and GIS programs, COCO JSON and CSV, one object at a time.

All may be compressed (`.gz`). The same objects give the same bytes.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from fitcli.annotations.feature_writer import NamedClasses
from fitcli.annotations.features import placement_for
from fitcli.annotations.geojson_writer import COMPRESSION, NAMESPACE, crs_member, json_text
from fitcli.annotations.objects.found_objects import FoundObjects
from fitcli.annotations.placement import DIGITS, Placement
from fitcli.errors import ImageError
from fitcli.images.base import ImageInfo
from fitcli.images.publishing import ImagePublication, cannot_write

GEOJSON, CSV, COCO = (".geojson", ".geojson.gz"), (".csv", ".csv.gz"), (".json", ".json.gz")

WRITTEN_SUFFIXES = (*GEOJSON, *CSV, *COCO)
"""Suffixes of files of found objects, in lower case."""

SCORE_DIGITS = 4
"""Decimal digits of scores."""


def write_objects(
    path: Path, found: FoundObjects, table: NamedClasses, info: ImageInfo, image: Path, in_pixels: bool = False
) -> None:
    """Write the objects of one image. The file appears whole or not at all.

    GeoJSON of an image with a georeference has coordinates on the Earth, unless you ask for pixels; all else is in
    pixels of level 0.

    Args:
        path: The file; its suffix names the format.
        found: The objects.
        table: Names and colours of the classes.
        info: Description of level 0 of the image.
        image: The image.
        in_pixels: Whether GeoJSON is in pixels even if the image lies on the Earth.

    Raises:
        ImageError: The name has another suffix, the georeference is not affine, or the file cannot be written.
    """
    name = path.name.lower()
    if name.endswith(GEOJSON):
        parts = geojson_lines(found, table, placement_for(path, info, in_pixels))
    elif name.endswith(CSV):
        parts = csv_lines(found, table, image)
    elif name.endswith(COCO):
        parts = coco_lines(found, table, info, image)
    else:
        raise ImageError(path, f"objects are written as {', '.join(WRITTEN_SUFFIXES)}; choose such a name")
    publication = ImagePublication(path)
    try:
        with _opened(publication.path, name.endswith(".gz")) as file:
            for part in parts:
                file.write(part.encode("utf-8", "replace"))
        publication.publish()
    except BaseException as error:
        publication.discard()
        if isinstance(error, OSError):
            raise cannot_write(path, error) from error
        raise


@contextmanager
def _opened(path: Path, compressed: bool) -> Iterator[IO[bytes]]:
    with path.open("xb") as file:
        if not compressed:
            yield file
            return
        # Without name and time, equal contents have equal bytes.
        with gzip.GzipFile("", "wb", COMPRESSION, file, mtime=0) as packed:
            yield cast(IO[bytes], packed)


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
    left, top, right, bottom = box.tolist()
    if is_point:
        return {"type": "Point", "coordinates": placement.ring(np.array([[left, top]]))[0].tolist()}
    ring = np.array([(left, top), (right, top), (right, bottom), (left, bottom), (left, top)])
    return {"type": "Polygon", "coordinates": [placement.ring(ring).tolist()]}


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
