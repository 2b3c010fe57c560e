"""Reads the boxes of a YOLO text file: one object per line, `class x y width height`, as shares of the image.

x and y are the middle of the box. Six or more numbers after the class are the corners of a polygon, whose box counts.
The class is a number; the names are in `data.yaml`, `classes.txt` or `obj.names` in a folder above the file.
"""

from __future__ import annotations

import re
from pathlib import Path

from fitcli.annotations.objects.csv_objects import read_text
from fitcli.annotations.objects.object_set import ImageObjects, ObjectSet
from fitcli.errors import ImageError
from fitcli.files.spelling import composed
from fitcli.files.wording import counted

NAME_FILES = ("data.yaml", "data.yml", "dataset.yaml", "classes.txt", "obj.names")
"""Files of names, in the order in which they are looked for."""

FOLDERS_ABOVE = 3
"""Number of folders above the file that may hold them: that of the file, `labels`, and that of the data set."""

MOST_CLASS = 9999
"""Largest number of a class."""


def read_yolo(path: Path) -> ObjectSet:
    """Read a file.

    Raises:
        ImageError: The file cannot be read, or a line is impossible.
    """
    names = yolo_names(path)
    objects, largest = ImageObjects(), -1
    for number, line in enumerate(read_text(path).splitlines(), 1):
        words = line.split()
        if not words:
            continue
        try:
            kind, left, top, right, bottom = _box(words)
            if names and kind >= len(names):
                raise ValueError(f"has the class {kind}, but the file of names has {counted(len(names), 'name')}")
            objects.add_box((left, top, right, bottom), kind)
        except ValueError as error:
            raise ImageError(path, f"line {number:,} {error}; correct it, or leave it out") from None
        largest = max(largest, kind)
    return objects.result(names or [str(kind) for kind in range(largest + 1)], units="shares")


def yolo_names(path: Path) -> list[str]:
    """Return the names of the classes, from a file beside or above; empty without one.

    Raises:
        ImageError: There is one, but it cannot be read.
    """
    for folder in list(path.absolute().parents)[: FOLDERS_ABOVE + 1]:
        for name in NAME_FILES:
            file = folder / name
            if file.is_file() and file != path.absolute():
                text = read_text(file)
                return _yaml_names(file, text) if file.suffix in (".yaml", ".yml") else _lines(text)
    return []


def is_name_file(path: Path) -> bool:
    """Return whether a file holds names of classes, and no objects."""
    return path.name in NAME_FILES


def _lines(text: str) -> list[str]:
    return [composed(line.strip()) for line in text.splitlines() if line.strip()]


def _yaml_names(file: Path, text: str) -> list[str]:
    """Return the entry `names` of a YAML file: a list in one line or in several, or names by number."""
    lines = text.splitlines()
    start = next((number for number, line in enumerate(lines) if re.match(r"names\s*:", line)), None)
    if start is None:
        raise ImageError(file, "has no entry names; list the names of the classes there")
    rest = lines[start].partition(":")[2].partition(" #")[0].strip()
    if rest:
        # A list or a dictionary may go on in further lines.
        for line in lines[start + 1 :]:
            if rest.endswith(("]", "}")):
                break
            rest += " " + line.strip()
        parts = [part for part in re.split(r",\s*", rest.strip("[]{} ")) if part.strip()]
    else:
        parts = []
        for line in lines[start + 1 :]:
            if line.strip() and not re.match(r"\s+\S|-\s", line):
                break
            if line.strip() and not line.strip().startswith("#"):
                parts.append(line.strip().removeprefix("- "))
    named = [re.match(r"(\d+)\s*:\s*(.*)", part) for part in parts]
    if any(named):
        pairs = sorted((int(each[1]), each[2]) for each in named if each is not None)
        if [number for number, _ in pairs] != list(range(len(parts))):
            raise ImageError(file, "has names that are not numbered 0, 1, 2, ...; correct them")
        parts = [name for _, name in pairs]
    return [composed(part.strip().strip("'\"")) for part in parts]


def _box(words: list[str]) -> tuple[int, float, float, float, float]:
    try:
        kind, values = int(float(words[0])), [float(word) for word in words[1:]]
    except (ValueError, OverflowError):
        raise ValueError("has a word that is no number") from None
    if not 0 <= kind <= MOST_CLASS or kind != float(words[0]):
        raise ValueError(f"has the class {words[0]}; classes are numbered from 0")
    if len(values) == 4:
        x, y, width, height = values
        if width < 0 or height < 0:
            raise ValueError(f"has a box of {width:g} x {height:g}")
        box = x - width / 2, y - height / 2, x + width / 2, y + height / 2
    elif len(values) >= 6 and len(values) % 2 == 0:
        box = min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2])
    else:
        raise ValueError(f"has {len(values)} numbers after the class, not 4")
    if not all(-1 <= value <= 2 for value in box):
        raise ValueError("has coordinates far outside of 0 to 1; they are shares of the sides of the image")
    return kind, *box
