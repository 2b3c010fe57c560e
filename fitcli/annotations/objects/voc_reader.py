"""Reads the boxes of a PASCAL VOC file: XML with an `object` per box, in pixels."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from fitcli.annotations.objects.object_set import ImageObjects, ObjectSet, number_in
from fitcli.errors import ImageError
from fitcli.files.spelling import composed

LARGEST_FILE = 256 << 20
"""Most bytes of a file."""


def read_voc(path: Path) -> ObjectSet:
    """Read a file. Objects that are marked as difficult count like the others.

    Raises:
        ImageError: The file cannot be read, or a box is impossible.
    """
    root = _parsed(path)
    objects, names = ImageObjects(), dict[str, int]()
    objects.image = composed((root.findtext("filename") or "").strip())
    size = root.find("size")
    if size is not None:
        height, width = (_whole(size.findtext(name)) for name in ("height", "width"))
        objects.size = (height, width) if height and width else None
    for number, entry in enumerate(root.iter("object"), 1):
        name, box = composed((entry.findtext("name") or "").strip()), entry.find("bndbox")
        if not name or box is None:
            raise ImageError(path, f"object {number:,} has no name or no bndbox; correct it, or leave it out")
        try:
            sides = [float(box.findtext(side) or "") for side in ("xmin", "ymin", "xmax", "ymax")]
        except ValueError:
            raise ImageError(path, f"object {number:,} has a side that is no number; correct it") from None
        try:
            objects.add_box(sides, number_in(names, name, path))
        except ValueError as error:
            raise ImageError(path, f"object {number:,} {error}; correct it, or leave it out") from None
    return objects.result(names)


def _parsed(path: Path) -> Element:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise ImageError(path, f"has more than {LARGEST_FILE >> 20} MiB; split it")
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(path, f"cannot be read ({error.strerror or error})") from None
    builder, parser = TreeBuilder(), expat.ParserCreate()
    # Entities could make a small file endless.
    parser.StartDoctypeDeclHandler = _refuse_entities
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(data, True)
        root = builder.close()
    except _HasEntitiesError:
        raise ImageError(path, "declares a document type, which is not read; remove it") from None
    except (expat.ExpatError, ValueError) as error:
        raise ImageError(path, f"is not valid XML ({error}); export it again") from None
    if root.tag != "annotation":
        raise ImageError(path, f"is no PASCAL VOC file: its outermost element is {root.tag[:40]!r}, not 'annotation'")
    return root


class _HasEntitiesError(Exception):
    """A document type is declared."""


def _refuse_entities(*_: object) -> None:
    raise _HasEntitiesError


def _whole(text: str | None) -> int:
    try:
        return int(text or "")
    except ValueError:
        return 0
