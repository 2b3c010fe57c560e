"""Reads the boxes of a COCO JSON file, which holds those of many images.

A box is [x, y, width, height] in pixels, the origin in the upper left corner. The class is that of the name of the
category. A box with `iscrowd` holds several objects: nothing counts in it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fitcli.annotations.json_stream import JsonStream
from fitcli.annotations.objects.object_set import MOST_NAMES, ImageObjects, ObjectSet
from fitcli.errors import ImageError
from fitcli.files.spelling import composed

MOST_IMAGES = 1_000_000
"""Most images of a file."""

PARTS = ("images", "annotations", "categories")
"""Members of the file; others are passed over."""


def read_coco(path: Path) -> dict[str, ObjectSet]:
    """Return the objects by the `file_name` of their image, in the order of the file.

    Raises:
        ImageError: The file cannot be read, or an annotation is impossible; it is named by its place in the list.
    """
    lists: dict[str, list[Any]] = {name: [] for name in PARTS}
    with JsonStream(path) as stream:
        if stream.peek() != "{":
            raise stream.error("is no COCO file: its outermost value is no object", ADVICE)
        for name in stream.members():
            if name in lists and stream.peek() == "[":
                lists[name].extend(map(_slim, stream.elements()))
            else:
                stream.value()
        stream.end()
    if not lists["images"]:
        raise ImageError(path, f"is no COCO file: it has no list of images; {ADVICE}")
    numbers, names = _categories(path, lists["categories"])
    images = _images(path, lists["images"])
    for place, annotation in enumerate(lists["annotations"]):
        try:
            _add(annotation, numbers, images)
        except (ValueError, TypeError, KeyError) as error:
            reason = str(error) if type(error) is ValueError else f"has a wrong structure ({error!r:.80})"
            raise ImageError(path, f"annotation {place + 1:,} {reason}; correct it, or leave it out") from None
    return {name: objects.result(names) for name, objects in images.values()}


ADVICE = 'give a file with the lists "images", "annotations" and "categories"'

KEPT = ("id", "file_name", "width", "height", "name", "image_id", "category_id", "bbox", "iscrowd", "ignore")
"""Members that are kept of an entry. Masks are not: they take most of the memory of a file."""


def _slim(entry: Any) -> Any:
    return {key: entry[key] for key in KEPT if key in entry} if isinstance(entry, dict) else entry


def holds_coco(path: Path) -> bool:
    """Return whether a JSON file is a COCO file: it lists images.

    Raises:
        ImageError: It cannot be read.
    """
    with JsonStream(path) as stream:
        if stream.peek() != "{":
            return False
        for name in stream.members():
            if name == "images" and stream.peek() == "[":
                return True
            if name in ("features", "geometries", "coordinates"):
                return False
            if name in PARTS and stream.peek() == "[":
                for _ in stream.elements():
                    pass
            else:
                stream.value()
    return False


def _categories(path: Path, entries: list[Any]) -> tuple[dict[Any, int], list[str]]:
    """Return the number of each category by its id, and the names by number."""
    numbers: dict[Any, int] = {}
    names: list[str] = []
    for entry in entries:
        try:
            name, identity = composed(str(entry["name"]).strip()), entry["id"]
            is_new = identity not in numbers
        except (TypeError, KeyError):
            raise ImageError(path, f"has a category without id and name; {ADVICE}") from None
        if not name or not is_new or name in names:
            raise ImageError(path, f"has two categories of one name or id, or one without a name: {name!r}; correct it")
        numbers[identity] = len(names)
        names.append(name)
        if len(names) > MOST_NAMES:
            raise ImageError(path, f"has more than {MOST_NAMES:,} categories; leave out those that are not used")
    return numbers, names


def _images(path: Path, entries: list[Any]) -> dict[Any, tuple[str, ImageObjects]]:
    """Return the images by id."""
    if len(entries) > MOST_IMAGES:
        raise ImageError(path, f"lists more than {MOST_IMAGES:,} images; split it")
    images: dict[Any, tuple[str, ImageObjects]] = {}
    files: set[str] = set()
    for entry in entries:
        try:
            identity, name = entry["id"], str(entry["file_name"])
            size = (int(entry["height"]), int(entry["width"])) if {"height", "width"} <= entry.keys() else None
        except (TypeError, KeyError, ValueError):
            raise ImageError(path, f"has an image without id and file_name; {ADVICE}") from None
        if identity in images or name in files:
            raise ImageError(path, f"lists the image {name!r} or its id {identity!r} twice; keep one")
        files.add(name)
        images[identity] = name, ImageObjects()
        images[identity][1].size = size
    return images


def _add(annotation: Any, numbers: dict[Any, int], images: dict[Any, tuple[str, ImageObjects]]) -> None:
    if annotation["image_id"] not in images:
        raise ValueError(f"has the image_id {annotation['image_id']!r}, which no image has")
    if annotation["category_id"] not in numbers:
        raise ValueError(f"has the category_id {annotation['category_id']!r}, which no category has")
    box = annotation["bbox"]
    if not isinstance(box, list) or len(box) != 4 or not {type(value) for value in box} <= {int, float}:
        raise ValueError("has a bbox that is no list of four numbers")
    left, top, width, height = map(float, box)
    if width < 0 or height < 0:
        raise ValueError(f"has a bbox of {width:g} x {height:g} pixels")
    crowd = bool(annotation.get("iscrowd")) or bool(annotation.get("ignore"))
    number = numbers[annotation["category_id"]]
    images[annotation["image_id"]][1].add_box((left, top, left + width, top + height), number, crowd)
