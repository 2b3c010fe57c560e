"""Lists the images of a folder with the files of their labels. It decodes no pixels.

The folder holds `images/` and `labels/`, with files of the same names up to their suffixes. Splits are folders above
(`train/images`, `train/labels`) or below (`images/train`, `labels/train`). OME-Zarr images may hold their labels
themselves; then they may lie in the folder itself, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from fitcli.annotations.labels import has_polygons, labels_inside
from fitcli.data.class_names import composed
from fitcli.data.csv_listing import ListedImage, Listing
from fitcli.data.folder_listing import name_files, name_others, split_folders, subfolders
from fitcli.data.image_names import without_suffix
from fitcli.errors import DataError
from fitcli.files.wording import counted
from fitcli.images.find import FoundImages, find_images

IMAGES, LABELS = "images", "labels"
"""Names of the folders, in any case."""

Pair = tuple[Path, Path | None, str]
"""A folder of images, the folder of their labels or None, and their split."""


def read_pairs(root: Path) -> Listing:
    """Read the images that a folder holds, with the files of their labels.

    Raises:
        DataError: There are no images with labels, or several files of one name.
    """
    rows: list[ListedImage] = []
    alone: dict[str, list[Path]] = {"file": [], "image": [], "label file": []}
    for images, labels, split in pair_folders(root):
        found = find_images(images)
        beside = FoundImages() if labels is None else find_images(labels)
        # Other files in the folder of labels, such as legends, are no labels.
        files = [*beside.images, *filter(has_polygons, beside.others)]
        alone["file"] += [*found.others, *(other for other in beside.others if not has_polygons(other))]
        named = by_name(labels or images, files)
        for name, image in by_name(images, found.images).items():
            file = named.pop(name, None) or labels_inside(image)
            if file is None:
                alone["image"].append(image)
            else:
                rows.append(ListedImage(image, key_of(image, root), (), split, file, key_of(file, root)))
        alone["label file"] += named.values()
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
    for images, labels, _ in pair_folders(root):
        if labels is None:
            continue
        found, names = find_images(labels), {without_suffix(image.name) for image in find_images(images).images}
        if any(without_suffix(file.name) in names for file in (*found.images, *filter(has_polygons, found.others))):
            return True
    return False


def pair_folders(
    root: Path, images_names: Sequence[str] = (IMAGES,), labels_names: Sequence[str] = (LABELS,)
) -> Iterable[Pair]:
    """Yield the folders of images and labels of each split.

    Args:
        root: The data set.
        images_names, labels_names: Names of the folders, in any case; the first that is there counts.
    """
    for source, split in split_folders(root):
        images, labels = _child(source, *images_names), _child(source, *labels_names)
        if images is None:
            yield source, None, split
            continue
        for folder, inner in split_folders(images):
            # Within images/train, the labels lie in labels/train.
            beside = labels if folder == images or labels is None else _child(labels, folder.name)
            yield folder, beside, inner or split


def _child(folder: Path, *names: str) -> Path | None:
    """Return the subfolder of the first of some names that is there, in any case; None if there is none."""
    children = {child.name.lower(): child for child in reversed(subfolders(folder))}
    return next((children[name.lower()] for name in names if name.lower() in children), None)


def by_name(folder: Path, files: Iterable[Path]) -> dict[str, Path]:
    """Return files by their names below a folder, without suffixes.

    Raises:
        DataError: Two files have the same name.
    """
    named: dict[str, Path] = {}
    for file in files:
        relative = file.relative_to(folder)
        name = composed((relative.parent / without_suffix(relative.name)).as_posix())
        if (other := named.setdefault(name, file)) != file:
            raise DataError(f"{folder}: {other.name} and {file.name} have the same name up to the suffix; keep one")
    return named


def key_of(file: Path, root: Path) -> str:
    return composed(file.relative_to(root).as_posix())
