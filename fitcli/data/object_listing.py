"""Lists the images of a data set with their objects. It decodes no pixels.

A data set is one of:

- a CSV file with the columns `path,objects[,split][,fold][,patient]`, which names a file of objects per image;
- a CSV file with the objects of all images, a row each, see `annotations/objects/csv_objects.py`, and the same columns
  of the image;
- a COCO JSON file; its images lie beside it, in `images/`, or in the folder above;
- a folder with `images/` and `labels/` (also `JPEGImages/` and `Annotations/`), with files of the same names up to
  their suffixes, as YOLO and PASCAL VOC have them; or one folder with both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from fitcli.annotations.objects.csv_objects import has_object_columns, object_rows
from fitcli.annotations.objects.object_file import JSON, holds_objects, read_object_file
from fitcli.annotations.objects.yolo_reader import is_name_file
from fitcli.data.class_names import composed
from fitcli.data.csv_listing import NO_GROUPS, ListedImage, Listing, listed_image, patient_column, read_csv
from fitcli.data.folder_listing import name_files, name_others
from fitcli.data.image_names import NamedImages
from fitcli.data.paired_listing import by_name, key_of, pair_folders
from fitcli.errors import DataError, ImageError
from fitcli.files.spelling import existing_spelling
from fitcli.files.wording import counted
from fitcli.images.find import find_images

IMAGE_FOLDERS, OBJECT_FOLDERS = ("images", "JPEGImages"), ("labels", "annotations", "objects")
"""Names of the folders, in any case."""

PLURALS = {"file of objects": "files of objects"}


def read_object_listing(
    path: Path, group_by: str | None = None, images: Path | None = None, strict: bool = True
) -> Listing:
    """Read the images of a data set with their objects.

    Args:
        path: Folder or file.
        group_by, images, strict: See `read_csv`, for a CSV file. In training, other data sets refuse a choice.

    Raises:
        DataError: There are no images with objects, several files of one name, names of missing files, or a choice
            that the data set cannot follow.
    """
    try:
        if (read := next((read for fits, read in _FORMS if fits(path)), None)) is not None:
            option = "--images" if images is not None else "--group-by" if group_by not in (None, NO_GROUPS) else None
            if option is not None and strict:
                raise DataError(f"{path}: {option} is for a CSV file; leave it out")
            return read(path)
        if has_object_columns(path):
            return _read_rows(path, group_by, images, strict)
        return read_csv(path, "objects", False, group_by, images, strict)
    except ImageError as error:
        raise DataError(str(error)) from None


def _read_rows(path: Path, group_by: str | None, images: Path | None, strict: bool) -> Listing:
    """Read a CSV file of objects: its images in the order of their first rows, which all rows agree with."""
    columns, rows = object_rows(path)
    if columns.path is None:
        raise DataError(f"{path}: has no column path, so nothing says which image its objects belong to; add one")
    patient = patient_column(path, columns.names, (), group_by, strict)
    facts = {
        name: columns.names.index(name) for name in dict.fromkeys(("split", "fold", patient)) if name in columns.names
    }
    found: dict[str, tuple[int, dict[str, str | None]]] = {}
    lengths: dict[int, int] = {}
    for line, row in rows:
        name, *cells = (row[n].strip() if n < len(row) else "" for n in (columns.path, *facts.values()))
        own: dict[str, str | None] = {"path": name, **dict(zip(facts, cells, strict=True))}
        first, before = found.setdefault(name, (line, own))
        lengths[line] = len(row)
        if other := next((heading for heading in facts if own[heading] != before[heading]), None):
            if short := next((each for each in (line, first) if lengths[each] <= facts[other]), None):
                raise DataError(
                    f"{path}, line {short}: has {lengths[short]} of {len(columns.names)} fields, so its {other} is "
                    "missing; fill it in"
                )
            raise DataError(f"{path}, line {line}: {name} has another {other} than in line {first}; keep one")
    named = NamedImages(path, images)
    listed = (listed_image(named, line, own, (), patient) for line, own in found.values())
    each = zip(listed, found, strict=True)
    return Listing(
        [replace(image, label_file=path, label_key=path.name, label_part=name) for image, name in each],
        (),
        in_files=True,
    )


def _read_coco(path: Path) -> Listing:
    """Read a COCO file."""
    images = read_object_file(path).images
    if set(images) == {""}:
        raise DataError(
            f"{path}: is no COCO file, so nothing says which image its objects belong to; list images and files in a "
            "CSV file with the columns path,objects"
        )
    folder = path.parent
    folders = [folder, *_existing(folder / name for name in IMAGE_FOLDERS), folder.parent]
    folders += _existing(folder.parent / name for name in (*IMAGE_FOLDERS, path.stem.rpartition("_")[2]))
    found = {name: _image(path, name, folders) for name in images}
    rows = [ListedImage(file, composed(name), (), "", path, path.name, label_part=name) for name, file in found.items()]
    return Listing(rows, (), in_files=True)


def _existing(folders: Iterable[Path]) -> Iterator[Path]:
    return (folder for folder in folders if folder.is_dir())


def _image(path: Path, name: str, folders: list[Path]) -> Path:
    """Return the file of an image that a file of objects names.

    Raises:
        DataError: There is none.
    """
    for folder in folders:
        for each in dict.fromkeys((name, name.replace("\\", "/"))):
            if (file := existing_spelling(folder / each)) is not None:
                return file
    where = ", ".join(str(folder) for folder in dict.fromkeys(folders[:3]))
    raise DataError(f"{path}: has objects of {name!r}, but there is no such image in {where}; put it there")


def _read_folder(root: Path) -> Listing:
    """Read a folder of images and files of objects."""
    rows: list[ListedImage] = []
    alone: dict[str, list[Path]] = {"file": [], "image": [], "file of objects": []}
    for images, labels, split in pair_folders(root, IMAGE_FOLDERS, OBJECT_FOLDERS):
        found = find_images(images)
        others = (found if labels is None else find_images(labels)).others
        files = [file for file in others if holds_objects(file) and not is_name_file(file)]
        if labels is not None:
            alone["file"] += found.others
        alone["file"] += [file for file in others if file not in files and not is_name_file(file)]
        named = by_name(labels or images, files)
        for name, image in by_name(images, found.images).items():
            file = named.pop(name, None)
            if file is None:
                alone["image"].append(image)
            else:
                rows.append(ListedImage(image, key_of(image, root), (), split, file, key_of(file, root)))
        alone["file of objects"] += named.values()
    if not rows:
        found_alone = (counted(len(paths), noun, PLURALS.get(noun)) for noun, paths in alone.items() if paths)
        counts = ", ".join(found_alone) or "no files"
        raise DataError(
            f"{root}: no image with objects found ({counts}); give folders images/ and labels/ with files of the same "
            "names, a COCO JSON file, or a CSV file with the columns path,objects or path,xmin,ymin,xmax,ymax,label"
        )
    why = {"image": ", without a file of objects", "file of objects": ", without an image"}
    single = (name_files(noun, alone[noun], root, reason) for noun, reason in why.items())
    notes = (*name_others(alone["file"], root), *filter(None, single))
    return Listing(rows, (), notes, in_files=True)


_FORMS: tuple[tuple[Callable[[Path], bool], Callable[[Path], Listing]], ...] = (
    (Path.is_dir, _read_folder),
    (lambda path: path.name.lower().endswith(JSON), _read_coco),
)
"""What tells the forms of data sets without columns, and what reads them. Any other file is a CSV file."""
