"""Finds the images of a zarr group: itself, the series that bioformats2raw writes (layout 3), or the fields of a plate.

It works on the metadata alone. A plate of OME-Zarr holds wells, `A/1`, and each well holds images, `A/1/0`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fitcli.errors import ImageError, UnreadableAs
from fitcli.images.contents import Series
from fitcli.images.plane_axes import KNOWN
from fitcli.images.plane_choice import PlaneChoice
from fitcli.images.zarr.chunks import StoreFiles
from fitcli.images.zarr.documents import group_attributes, read_document
from fitcli.images.zarr.ngff import array_axes, multiscale

MAX_IMAGES = 20_000
"""Largest number of images that a group may list."""

NAMED = 20
"""Most images that an error names."""


@dataclass(frozen=True, slots=True)
class ZarrImage:
    """An image in a zarr group.

    Attributes:
        root: The group.
        name: Path of the image in the group; "" for the group itself.
    """

    root: Path
    name: str = ""

    @property
    def folder(self) -> Path:
        """Folder of the image."""
        return self.root / self.name if self.name else self.root

    @property
    def is_there(self) -> bool:
        """Whether its folder exists."""
        return self.folder.is_dir()

    def describe(self) -> Series:
        """Return what its metadata say, without its pixels."""
        if not self.is_there:
            return Series(name=self.name, missing="no such folder")
        try:
            return self._described()
        except ImageError as error:
            return Series(name=self.name, missing=error.reason)
        except Exception as error:  # damaged metadata make errors of many types
            return Series(name=self.name, missing=" ".join(str(error).split())[:200] or type(error).__name__)

    def _described(self) -> Series:
        StoreFiles(self.root, self.folder).check_metadata()
        image = multiscale(group_attributes(self.folder), self.folder)
        array = self.folder if image is None else self.folder / image.paths[0]
        StoreFiles(self.root, array).check_metadata()
        document = read_document(array)
        shape = tuple(int(size) for size in document["shape"])
        axes = array_axes(shape, _axis_names(document, array)) if image is None else image.axes
        lengths = dict(zip(axes, shape, strict=True))
        pages = [size for axis, size in lengths.items() if axis.upper() not in KNOWN]
        count = 1
        for size in pages:
            count *= size
        return Series(
            name=self.name or ("" if image is None else image.name),
            height=lengths["y"],
            width=lengths["x"],
            axes=axes.upper(),
            focal_planes=lengths.get("z", 1),
            time_points=lengths.get("t", 1),
            pages=count,
            channels=lengths.get("c", 1),
            levels=1 if image is None else len(image.paths),
            channel_names=image.channel_names if image is not None and any(image.channel_names) else (),
            channel_colors=image.channel_colors if image is not None and any(image.channel_colors) else (),
        )


def find_images(path: Path) -> list[ZarrImage]:
    """Return the images of a zarr array or group. A group of another kind counts as an image.

    Raises:
        ImageError: The metadata of a collection are damaged, or lead out of the group.
    """
    if (path / ".zarray").is_file():
        return [ZarrImage(path)]
    attributes = _attributes(path, path)
    if "multiscales" in attributes:
        return [ZarrImage(path)]
    if isinstance(attributes.get("plate"), dict):
        wells = _paths(attributes["plate"].get("wells"), path)
        return _images(path, [name for well in wells for name in _fields(path, well)], "plate without wells")
    if isinstance(attributes.get("well"), dict):
        return _images(path, _paths(attributes["well"].get("images"), path), "well without images")
    if attributes.get("bioformats2raw.layout") is not None:
        return _images(path, _series(path), "collection without images")
    return [ZarrImage(path)]


def chosen_number(images: Sequence[ZarrImage], choice: PlaneChoice, path: Path, lenient: bool) -> int:
    """Return the number of the image that is read.

    Args:
        images: All of them.
        choice: The choice of the user.
        path: The group, for messages.
        lenient: Whether to take the first of several.

    Raises:
        UnreadableAs: There is no such image, or several without a choice.
    """
    names = [image.name for image in images]
    if choice.series is None:
        there = [number for number, image in enumerate(images) if image.is_there]
        if not there:
            raise ImageError(path, f"has none of the images that its metadata list ({_listed(names)}); copy it again")
        if len(there) > 1 and not lenient:
            raise UnreadableAs(path, f"holds {len(images)} images ({_listed(names)}); choose one with --series N|NAME")
        number = there[0]
    else:
        found = choice.series_number(names)
        if found is None:
            found = choice.series_number([image.describe().name for image in images])
        if found is None:
            have = f"{len(images)} ({_listed(names)})" if len(images) > 1 else "one image"
            raise UnreadableAs(path, f"has no series {choice.series}, only {have}; give another --series")
        number = found
    if not images[number].is_there:
        raise UnreadableAs(path, f"lists the image {names[number]}, but has no such folder; give another --series")
    StoreFiles(path, images[number].folder).check_metadata()
    return number


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")


def _images(path: Path, names: Sequence[str], empty: str) -> list[ZarrImage]:
    if not names:
        raise ImageError(path, f"is a {empty}; copy or export it again")
    if len(names) > MAX_IMAGES:
        raise ImageError(path, f"lists {len(names):,} images; fit reads at most {MAX_IMAGES:,}")
    return [ZarrImage(path, name) for name in dict.fromkeys(names)]


def _fields(path: Path, well: str) -> list[str]:
    """Return the paths of the images of a well; of a well that is missing, that of its first image."""
    if not (path / well).is_dir():
        return [f"{well}/0"]
    described = _attributes(path, path / well).get("well")
    images = _paths(described.get("images"), path) if isinstance(described, dict) else []
    return [f"{well}/{image}" for image in images]


def _series(path: Path) -> list[str]:
    """Return the paths of the series: those that the group OME lists, else the numbered folders."""
    listed = _attributes(path, path / "OME").get("series") if (path / "OME").is_dir() else None
    if isinstance(listed, list) and listed:
        return _paths([{"path": name} for name in listed], path)
    names: list[str] = []
    while (path / str(len(names))).is_dir() and len(names) <= MAX_IMAGES:
        names.append(str(len(names)))
    return names


def _paths(entries: Any, path: Path) -> list[str]:
    if not isinstance(entries, list) or len(entries) > MAX_IMAGES:
        raise ImageError(path, "has metadata of a collection that cannot be read; copy or export it again")
    names = [str(entry.get("path", "")) for entry in entries if isinstance(entry, dict)]
    for name in names:
        if any(part in ("", ".", "..") for part in name.split("/")) or "\\" in name:
            raise ImageError(path, f"lists an image at {name!r}, which is not inside it; the metadata is forged")
    return names


def _attributes(root: Path, group: Path) -> dict[str, Any]:
    """Return the OME-Zarr attributes of a group; {} if it is none."""
    StoreFiles(root, group).check_metadata()
    attributes = group_attributes(group)
    ome = attributes.get("ome")
    return {**attributes, **ome} if isinstance(ome, dict) else attributes


def _axis_names(document: dict[str, Any], array: Path) -> Any:
    return document.get("dimension_names") or group_attributes(array).get("_ARRAY_DIMENSIONS")
