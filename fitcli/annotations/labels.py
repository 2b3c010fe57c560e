"""Opens the labels of an image, whatever file they lie in: the class of each pixel, read window by window."""

from __future__ import annotations

from pathlib import Path

from fitcli.annotations.class_table import ClassTable
from fitcli.annotations.label_image import LabelImage
from fitcli.annotations.label_rules import LabelRules
from fitcli.annotations.polygon_labels import PolygonLabels
from fitcli.errors import DataError
from fitcli.files.spelling import existing_spelling
from fitcli.images.base import ImageReader
from fitcli.images.find import is_zarr
from fitcli.images.zarr.image_labels import FOLDER, label_images

POLYGON_SUFFIXES = (".geojson", ".json", ".geojson.gz", ".json.gz", ".gpkg")
"""Suffixes of files of polygons, in lower case."""

INSIDE = "#"
"""Character between an OME-Zarr image and the label image inside it: `image.zarr#labels/NAME`."""


def open_labels(labels: Path, image: ImageReader, table: ClassTable, rules: LabelRules) -> ImageReader:
    """Open the labels of an image.

    Args:
        labels: A label image, a file of polygons, or `image.zarr#labels/NAME`.
        image: The open image, as `open_as` returns it: labels follow its level and scale. It is not needed later.
        table: The classes.
        rules: Rules by which labels are read.

    Returns:
        A uint8 image of one channel and the size of `image`: class numbers, or `IGNORED`.

    Raises:
        ImageError: The labels cannot be read, or are those of another image.
        DataError: Their classes are not those of the table.
    """
    path = label_file(labels)
    if has_polygons(path):
        return PolygonLabels(path, image, table, rules)
    return LabelImage(path, image, table)


def has_polygons(labels: Path) -> bool:
    """Return whether labels are polygons, by their suffix; a folder is a label image."""
    return labels.name.lower().endswith(POLYGON_SUFFIXES)


def label_file(labels: Path) -> Path:
    """Return the file or folder of labels: that of `image.zarr#labels/NAME` lies inside the image."""
    found = existing_spelling(labels)
    if found is not None:
        return found
    image, sign, inside = str(labels).rpartition(INSIDE)
    if sign and ".." not in Path(inside).parts and is_zarr(Path(image)):
        return Path(image) / inside
    return labels


def labels_inside(image: Path) -> Path | None:
    """Return the label image inside an image; None if it has none.

    Raises:
        DataError: It has several.
        ImageError: Its metadata are damaged.
    """
    names = label_images(image) if is_zarr(image) else ()
    if len(names) > 1:
        raise DataError(
            f"{image}: holds the label images {', '.join(names[:10])}; name one in the column labels of a CSV file, as "
            f"{image.name}{INSIDE}{FOLDER}/{names[0]}"
        )
    return image / FOLDER / names[0] if names else None
