"""Lists the images of a data set that is a folder, and says what it passes over. It decodes no pixels.

The folder holds one subfolder per class, or `train` and `val` folders that have such subfolders. If classes are not
needed, the images may lie in the folder itself, or in its `train` and `val` folders.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from fitcli.data.class_names import composed
from fitcli.data.csv_listing import PLAIN, SPLITS, Labels, ListedImage, Listing
from fitcli.errors import DataError
from fitcli.files.wording import counted
from fitcli.images.find import find_images, is_zarr
from fitcli.images.foreign import Foreign, foreign_by_name

NAMED = 3
"""Number of files to name of those that are passed over."""


def read_folder(root: Path, labels: Labels) -> Listing:
    """Read the images that a folder holds.

    Args:
        root: The folder.
        labels: Whether images need a class.

    Raises:
        DataError: There are no images, or none in a folder of a class although classes are needed.
    """
    rows, others, empty = _class_folders(root)
    outside = [find_images(folder, deep=False) for folder, _ in split_folders(root)]
    loose = [path for found in outside for path in found.images]
    if rows:
        notes = (
            *name_others(others, root),
            name_files("image", loose, root, ", in no class folder"),
            _without(empty),
        )
        return Listing(rows, (PLAIN,), tuple(note for note in notes if note))
    others += [path for found in outside for path in found.others]
    if labels == "needed" and loose:
        raise DataError(
            f"{root}: {counted(len(loose), 'image')}, but no class folders; move the images into one subfolder per "
            "class, or list them in a CSV file with the columns path,label"
        )
    if labels != "needed":
        rows = [
            ListedImage(image, _key(image, root), ("",), split)
            for folder, split in split_folders(root)
            for image in find_images(folder).images
        ]
    if not rows:
        passed = f" ({'; '.join(name_others(others, root))})" if others else ""
        needed = "one subfolder per class" if labels == "needed" else "images"
        raise DataError(f"{root}: no images found{passed}; give a folder with {needed}, or a CSV file")
    return Listing(rows, (PLAIN,), name_others(others, root))


def _class_folders(root: Path) -> tuple[list[ListedImage], list[Path], list[Path]]:
    """Return the images in folders of classes, the other files there, and the folders without an image."""
    rows, others, empty = [], [], []
    for source, split in split_folders(root):
        for folder in subfolders(source):
            found = find_images(folder)
            label = composed(folder.name)
            rows += [ListedImage(image, _key(image, root), (label,), split) for image in found.images]
            others += found.others
            empty += [] if found.images else [folder.relative_to(root)]
    return rows, others, empty


def _key(image: Path, root: Path) -> str:
    return composed(image.relative_to(root).as_posix())


def split_folders(root: Path) -> list[tuple[Path, str]]:
    """Return the folders that hold class folders, each with its split: `train`, `val` and `test`, or the root."""
    folders = subfolders(root)
    names = {folder.name.lower() for folder in folders}
    if "train" in names and names <= set(SPLITS):
        return [(folder, SPLITS[folder.name.lower()]) for folder in folders]
    return [(root, "")]


def subfolders(root: Path) -> list[Path]:
    """Return the folders that may be classes: not hidden, and no images themselves."""
    return sorted(
        child for child in root.iterdir() if child.is_dir() and not child.name.startswith(".") and not is_zarr(child)
    )


def name_others(paths: Iterable[Path], root: Path) -> tuple[str, ...]:
    """Return sentences on files that are no images: one on each format that is not read, and one on all others."""
    others: list[Path] = []
    foreign: dict[Foreign, list[Path]] = {}
    for path in paths:
        kind = foreign_by_name(path)
        (others if kind is None else foreign.setdefault(kind, [])).append(path)
    notes = [
        f"{name_files('file', found, root)}; {'it' if len(found) == 1 else 'each'} {kind.advice(found[0])}"
        for kind, found in foreign.items()
    ]
    return tuple(note for note in (*notes, name_files("file", others, root)) if note)


def name_files(noun: str, paths: Sequence[Path], root: Path, why: str = "") -> str:
    """Return a sentence that counts files and names some, one of each suffix first; "" for no files."""
    if not paths:
        return ""
    first: dict[str, Path] = {}
    for path in paths:
        first.setdefault(path.suffix.lower(), path)
    ordered = dict.fromkeys((*first.values(), *paths))
    names = [os.fspath(path.relative_to(root)) for path in ordered][:NAMED]
    return f"{counted(len(paths), noun)} passed over{why}: {', '.join(names)}{', ...' if len(paths) > NAMED else ''}"


def _without(folders: Iterable[Path]) -> str:
    """Return a sentence that names folders without images; "" for none."""
    names = ", ".join(map(str, folders))
    return f"no class, without images: {names}" if names else ""
