"""Reads the objects of a CSV file, which holds those of one image or of many.

Columns, in any order and case: `path` (also `image_path`, `image`, `filename`), `label` (also `class`, `name`), and

- `xmin,ymin,xmax,ymax` (also `left,top,right,bottom`): the sides of a box;
- `x,y,w,h` (also `width,height`): the upper left corner and the size of a box;
- `x,y` alone: a point.

Columns of the image, such as its split, are read by `data/object_listing.py`.

Coordinates are pixels. A row with a path alone is an image without objects. Without a column `path`, all rows belong to
one image. Without a column `label`, all objects are of the class "object".
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fitcli.annotations.objects.object_set import ImageObjects, ObjectSet, number_in
from fitcli.annotations.polygon_labels import ONLY_KIND
from fitcli.errors import ImageError
from fitcli.files.csv_cells import original_text
from fitcli.files.csv_quotes import STRAY_QUOTE, stray_quote
from fitcli.files.spelling import composed

SEPARATORS = (",", ";", "\t")
"""Characters that may separate the columns."""

LARGEST_FILE = 1 << 30
"""Most bytes of a file."""

LONGEST_LINE = 1 << 16
"""Most bytes of the first line."""

PATHS = ("path", "image_path", "image", "filename")
LABELS = ("label", "class", "name")
SIDES = (("xmin", "ymin", "xmax", "ymax"), ("left", "top", "right", "bottom"))
CORNERS = (("x", "y", "w", "h"), ("x", "y", "width", "height"))
POINT = ("x", "y")


@dataclass(frozen=True, slots=True)
class ObjectColumns:
    """The columns of a file, by index.

    Attributes:
        numbers: Columns of the coordinates.
        kind: Form of the coordinates: "sides", "corner" (with a size) or "point".
        path: Column of the image; None if all rows belong to one.
        label: Column of the class; None without one.
        names: Names of all columns, in lower case.
    """

    numbers: tuple[int, ...]
    kind: str
    path: int | None
    label: int | None
    names: tuple[str, ...]


def object_columns(headings: Sequence[str]) -> ObjectColumns | None:
    """Return the columns of objects; None if the file has no coordinates."""
    names = [name.strip().lower() for name in headings]

    def first(choices: Sequence[str]) -> int | None:
        return next((names.index(choice) for choice in choices if choice in names), None)

    for kind, forms in (("sides", SIDES), ("corner", CORNERS), ("point", (POINT,))):
        for form in forms:
            if set(form) <= set(names):
                numbers = tuple(map(names.index, form))
                return ObjectColumns(numbers, kind, first(PATHS), first(LABELS), tuple(names))
    return None


def read_csv_objects(path: Path) -> dict[str, ObjectSet]:
    """Return the objects by the cell of their image, in the order of the file; by "" without a column of images.

    Raises:
        ImageError: The file cannot be read, lacks a column, or has an impossible row.
    """
    columns, rows = object_rows(path)
    names: dict[str, int] = {}
    images: dict[str, ImageObjects] = {} if columns.path is not None else {"": ImageObjects()}
    for line, row in rows:
        image = "" if columns.path is None else _cell(row, columns.path)
        objects = images.setdefault(image, ImageObjects())
        cells = [_cell(row, number) for number in columns.numbers]
        label = ONLY_KIND if columns.label is None else composed(original_text(_cell(row, columns.label)))
        if not any(cells) and (columns.label is None or not label):
            continue
        if not label:
            short = _missing_fields(row, columns)
            raise ImageError(path, f"line {line:,} has no class{short}; fill the cell in, or leave the row out")
        try:
            _add(objects, columns.kind, [_number(cell) for cell in cells], number_in(names, label, path))
        except ValueError as error:
            short = _missing_fields(row, columns)
            raise ImageError(path, f"line {line:,} {error}{short}; correct it, or leave it out") from None
    return {image: objects.result(names) for image, objects in images.items()}


def object_rows(path: Path) -> tuple[ObjectColumns, list[tuple[int, list[str]]]]:
    """Return the columns of a file, and its rows with their lines, without empty ones.

    Raises:
        ImageError: The file cannot be read, or has no column of coordinates.
    """
    text = read_text(path)
    first = text.partition("\n")[0]
    separator = _separator(first)
    if (line := stray_quote(text, separator)) is not None:
        raise ImageError(path, f"line {line:,}: {STRAY_QUOTE}")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        headings = next(reader, [])
        columns = object_columns(headings)
        if columns is None:
            raise ImageError(
                path,
                f"has the columns {','.join(headings)[:100] or 'none'}; objects need xmin,ymin,xmax,ymax or x,y,w,h or "
                "x,y, and perhaps path and label",
            )
        return columns, [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise ImageError(path, f"line {reader.line_num:,}: {error}; correct it") from None


def has_object_columns(path: Path) -> bool:
    """Return whether the first line of a file names columns of objects."""
    try:
        with path.open("rb") as file:
            first = file.readline(LONGEST_LINE).decode("utf-8-sig", "replace")
    except OSError:
        return False
    return object_columns(next(csv.reader([first.strip()], delimiter=_separator(first)), [])) is not None


def _separator(first: str) -> str:
    """Return the separator of the columns, from the first line."""
    return max(SEPARATORS, key=first.count)


def read_text(path: Path) -> str:
    """Return a text file in UTF-8.

    Raises:
        ImageError: It cannot be read.
    """
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise ImageError(path, f"has more than {LARGEST_FILE >> 30} GiB; split it")
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ImageError(path, f"cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError as error:
        raise ImageError(path, f"is not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from None


def _add(objects: ImageObjects, kind: str, values: Sequence[float], number: int) -> None:
    if kind == "point":
        objects.add_point(values, number)
    elif kind == "sides":
        objects.add_box(values, number)
    else:
        x, y, width, height = values
        if width < 0 or height < 0:
            raise ValueError(f"has a box of {width:g} x {height:g} pixels")
        objects.add_box((x, y, x + width, y + height), number)


def _cell(row: Sequence[str], number: int) -> str:
    return row[number].strip() if number < len(row) else ""


def _missing_fields(row: Sequence[str], columns: ObjectColumns) -> str:
    """Return how many fields a row has, if some are missing."""
    return f" (it has {len(row)} of {len(columns.names)} fields)" if len(row) < len(columns.names) else ""


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        raise ValueError(f"has {cell!r:.40} where a number should be") from None
