"""Lists the images of a folder with the files of their labels. It decodes no pixels.

The folder holds `images/` and `labels/`, with files of the same names up to their suffixes. Splits are folders above
(`train/images`, `train/labels`) or below (`images/train`, `labels/train`). OME-Zarr images may hold their labels
themselves; then they may lie in the folder itself, too.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from fitcli.annotations.labels import POLYGON_SUFFIXES, has_polygons, labels_inside
from fitcli.data.class_names import composed
from fitcli.data.csv_listing import ListedImage, Listing
from fitcli.data.folder_listing import name_files, name_others, split_folders, subfolders
from fitcli.errors import DataError
from fitcli.files.wording import counted
from fitcli.images.find import FoundImages, find_images

IMAGES, LABELS = "images", "labels"
"""Names of the folders, in any case."""

LONG_SUFFIXES = (*POLYGON_SUFFIXES, ".ome.tif", ".ome.tiff", ".ome.zarr")
"""Suffixes of several parts, beside others."""

Pair = tuple[Path, Path | None, str]
"""A folder of images, the folder of their labels or None, and their split."""


def read_pairs(root: Path) -> Listing:
    """Read the images that a folder holds, with the files of their labels.

    Raises:
        DataError: There are no images with labels, or several files of one name.
    """
    rows: list[ListedImage] = []
    alone: dict[str, list[Path]] = {"file": [], "image": [], "label file": []}
    for images, labels, split in _pairs(root):
        found = find_images(images)
        beside = FoundImages() if labels is None else find_images(labels)
        # Other files in the folder of labels, such as legends, are no labels.
        files = [*beside.images, *filter(has_polygons, beside.others)]
        alone["file"] += [*found.others, *(other for other in beside.others if not has_polygons(other))]
        by_name = _by_name(labels or images, files)
        for name, image in _by_name(images, found.images).items():
            file = by_name.pop(name, None) or labels_inside(image)
            if file is None:
                alone["image"].append(image)
            else:
                rows.append(ListedImage(image, _key(image, root), (), split, file, _key(file, root)))
        alone["label file"] += by_name.values()
    if not rows:
        counts = ", ".join(counted(len(paths), noun) for noun, paths in alone.items() if paths) or "no files"
        raise DataError(
            f"{root}: no image with labels found ({counts}); give folders images/ and labels/ with files of the same "
            "names, OME-Zarr images with labels inside, or a CSV file with the columns path,labels"
        )
    why = {"image": ", without labels", "label file": ", without an image"}
    single = (name_files(noun, alone[noun], root, reason) for noun, reason in why.items())
    notes = (*name_others(alone["file"], root), *single)
    return Listing(rows, (), tuple(note for note in notes if note), in_files=True)


def holds_pairs(root: Path) -> bool:
    """Return whether a folder holds images with files of labels of the same names, in `images/` and `labels/`."""
    for images, labels, _ in _pairs(root):
        if labels is None:
            continue
        found, names = find_images(labels), {_without_suffix(image.name) for image in find_images(images).images}
        if any(_without_suffix(file.name) in names for file in (*found.images, *filter(has_polygons, found.others))):
            return True
    return False


def _pairs(root: Path) -> Iterable[Pair]:
    for source, split in split_folders(root):
        images, labels = _child(source, IMAGES), _child(source, LABELS)
        if images is None:
            yield source, None, split
            continue
        for folder, inner in split_folders(images):
            # Within images/train, the labels lie in labels/train.
            beside = labels if folder == images or labels is None else _child(labels, folder.name)
            yield folder, beside, inner or split


def _child(folder: Path, name: str) -> Path | None:
    """Return the subfolder of a name, in any case; None if there is none."""
    return next((child for child in subfolders(folder) if child.name.lower() == name.lower()), None)


def _by_name(folder: Path, files: Iterable[Path]) -> dict[str, Path]:
    """Return files by their names below a folder, without suffixes.

    Raises:
        DataError: Two files have the same name.
    """
    named: dict[str, Path] = {}
    for file in files:
        relative = file.relative_to(folder)
        name = composed((relative.parent / _without_suffix(relative.name)).as_posix())
        if (other := named.setdefault(name, file)) != file:
            raise DataError(f"{folder}: {other.name} and {file.name} have the same name up to the suffix; keep one")
    return named


def _without_suffix(name: str) -> str:
    long = next((suffix for suffix in LONG_SUFFIXES if name.lower().endswith(suffix)), None)
    return name[: -len(long)] if long else Path(name).stem


def _key(file: Path, root: Path) -> str:
    return composed(file.relative_to(root).as_posix())
