"""Names the classes of labels, and the values that stand for them in label images."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fitcli.errors import DataError
from fitcli.files.spelling import composed

IGNORED = 255
"""Class number of pixels without a label."""

MOST_CLASSES = 254
"""Largest number of classes: class numbers are bytes, and the highest is `IGNORED`."""

LARGEST_VALUE = 65535
"""Largest value of a class in label images."""

LONGEST_FILE = 1 << 20
"""Largest size in bytes of a JSON file of classes."""

FORM = "write them as 0=background,1=tumor or as a JSON file"
"""How classes are given, for messages."""

Color = tuple[int, int, int]
"""Red, green and blue from 0 to 255."""


@dataclass(frozen=True, slots=True)
class ClassTable:
    """The classes of labels. The number of a class is an index into the attributes.

    Attributes:
        names: Names of the classes, in Unicode form NFC.
        values: Values of the classes in label images.
        colors: Colours of the classes; None where unknown. Left out, none is known.

    Raises:
        DataError: There are no classes or too many; a name is empty or occurs twice; a value is out of range or occurs
            twice.
    """

    names: tuple[str, ...]
    values: tuple[int, ...]
    colors: tuple[Color | None, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(composed(name.strip()) for name in self.names))
        object.__setattr__(self, "colors", self.colors or (None,) * len(self.names))
        if not len(self.names) == len(self.values) == len(self.colors):
            raise ValueError("each class needs a name, a value and a colour or None")
        if not 1 <= len(self.names) <= MOST_CLASSES:
            raise DataError(f"classes: {len(self.names)} are given; give 1 to {MOST_CLASSES}")
        for value in self.values:
            if not 0 <= value <= LARGEST_VALUE:
                raise DataError(f"classes: the value {value} is out of range; give values from 0 to {LARGEST_VALUE}")
        if "" in self.names:
            value = self.values[self.names.index("")]
            raise DataError(f"classes: the class of value {value} has no name; {FORM}")
        for what, items in (("name", self.names), ("value", self.values)):
            if (double := _first_double(items)) is not None:
                raise DataError(f"classes: the {what} {double!r} occurs twice; give each class its own name and value")


def parse_classes(text: str) -> ClassTable:
    """Return the classes that `--classes` gives.

    Args:
        text: `0=background,1=tumor`, or the name of a JSON file with {"0": "background"}, {"background": 0} or
            ["background", "tumor"], whose values are 0, 1, ...

    Raises:
        DataError: The text or the file gives no classes, or impossible ones.
    """
    if not text.strip():
        raise DataError(f"classes: none are given; {FORM}")
    if "=" not in text or text.lower().endswith(".json"):
        return _read_json(Path(text))
    pairs = [part.partition("=") for part in text.split(",")]
    for value, sign, _ in pairs:
        if not sign or not _is_whole(value):
            raise DataError(f"classes: {value.strip()!r} is no value of a class; {FORM}")
    return ClassTable(tuple(name for _, _, name in pairs), tuple(_whole(value) for value, _, _ in pairs))


def _read_json(path: Path) -> ClassTable:
    try:
        with path.open("rb") as file:
            data = file.read(LONGEST_FILE + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: the classes cannot be read ({str(reason).lower()}); {FORM}") from None
    if len(data) > LONGEST_FILE:
        raise DataError(f"{path}: has more than {LONGEST_FILE >> 20} MiB; {FORM}")
    try:
        # Pairs keep a name that occurs twice.
        document = json.loads(data, object_pairs_hook=list)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: is no JSON ({' '.join(str(error).split())}); correct it") from None
    try:
        return _table(document)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def _table(document: Any) -> ClassTable:
    """Return the classes of a JSON document whose objects are lists of pairs."""
    items = document if isinstance(document, list) else []
    pairs = [item for item in items if isinstance(item, tuple)]
    if items and all(isinstance(item, str) for item in items):
        return ClassTable(tuple(items), tuple(range(len(items))))
    if items and len(pairs) == len(items):
        if all(isinstance(name, str) and _is_whole(value) for value, name in pairs):
            return ClassTable(tuple(name for _, name in pairs), tuple(_whole(value) for value, _ in pairs))
        if all(isinstance(value, int) and not isinstance(value, bool) for _, value in pairs):
            return ClassTable(tuple(name for name, _ in pairs), tuple(value for _, value in pairs))
    raise DataError(
        'classes: must be {"0": "background", ...}, {"background": 0, ...} or a list of names; correct them'
    )


def _is_whole(text: str) -> bool:
    digits = text.strip().removeprefix("-")
    # Longer numbers are out of range, too.
    return digits.isascii() and digits.isdigit() and len(digits) < 20


def _whole(text: str) -> int:
    return int(text.strip())


def _first_double(items: Iterable[Any]) -> Any:
    seen = set()
    for item in items:
        if item in seen:
            return item
        seen.add(item)
    return None
