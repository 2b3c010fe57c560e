"""Reads the objects of an image from a file of any format, and keeps files that were read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fitcli.annotations.file_cache import FileCache
from fitcli.annotations.geopackage_reader import SUFFIX as GEOPACKAGE
from fitcli.annotations.objects.coco_reader import holds_coco, read_coco
from fitcli.annotations.objects.csv_objects import read_csv_objects
from fitcli.annotations.objects.feature_objects import read_feature_objects
from fitcli.annotations.objects.object_set import ObjectSet, ObjectSource
from fitcli.annotations.objects.voc_reader import read_voc
from fitcli.annotations.objects.yolo_reader import read_yolo
from fitcli.errors import ImageError

CACHE_BYTES = 512 << 20
"""Bytes of files that are kept. A single file may be larger."""

GEOJSON, JSON = (".geojson", ".geojson.gz"), (".json", ".json.gz")
CSV, YOLO, VOC = (".csv", ".tsv"), (".txt",), (".xml",)

OBJECT_SUFFIXES = (*GEOJSON, GEOPACKAGE, *JSON, *CSV, *YOLO, *VOC)
"""Suffixes of files of objects, in lower case."""


@dataclass(frozen=True)
class ObjectFile:
    """A file that was read.

    Attributes:
        images: The objects by the name of their image; by "" in a file of one image.
    """

    images: Mapping[str, ObjectSet]

    @cached_property
    def size_bytes(self) -> int:
        return sum(each.size_bytes for each in self.images.values())


def holds_objects(path: Path) -> bool:
    """Return whether a file may hold objects, by its suffix."""
    return path.name.lower().endswith(OBJECT_SUFFIXES)


def read_object_file(path: Path) -> ObjectFile:
    """Return a file, read anew if it has changed since.

    Raises:
        ImageError: The file cannot be read, or holds impossible objects.
    """
    return _files.get(path)


def read_objects(source: ObjectSource) -> ObjectSet:
    """Return the objects of an image.

    Raises:
        ImageError: The file cannot be read, or does not know the image.
    """
    images = read_object_file(source.path).images
    if source.image in images:
        return images[source.image]
    if not source.image and len(images) == 1:
        return next(iter(images.values()))
    if not source.image:
        raise ImageError(
            source.path,
            f"holds the objects of {len(images):,} images, where those of one are needed; to train or to score on all, "
            "give the file itself as the data set",
        )
    raise ImageError(source.path, f"holds no objects of an image {source.image!r}")


def _read(path: Path) -> ObjectFile:
    name = path.name.lower()
    if name.endswith(CSV):
        return ObjectFile(read_csv_objects(path))
    if name.endswith(YOLO):
        return ObjectFile({"": read_yolo(path)})
    if name.endswith(VOC):
        return ObjectFile({"": read_voc(path)})
    if name.endswith(JSON) and holds_coco(path):
        return ObjectFile(read_coco(path))
    if name.endswith((*JSON, *GEOJSON, GEOPACKAGE)):
        return ObjectFile({"": read_feature_objects(path)})
    raise ImageError(path, f"objects are read from {', '.join(OBJECT_SUFFIXES)}; convert the file, or rename it")


_files: FileCache[ObjectFile] = FileCache(_read, lambda file: file.size_bytes, CACHE_BYTES)
