"""Finds the images that a CSV file names: relative to it or to a folder, with or without their suffix."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from fitcli.annotations.labels import POLYGON_SUFFIXES, label_file
from fitcli.data.class_names import composed
from fitcli.errors import DataError
from fitcli.files.spelling import existing_spelling
from fitcli.images.find import find_images

LONG_SUFFIXES = (*POLYGON_SUFFIXES, ".ome.tif", ".ome.tiff", ".ome.zarr")
"""Suffixes of several parts, beside others."""


_Found = dict[tuple[Path, bool], dict[str, list[Path]]]
"""Images by name, by folder and whether those below it count."""


class AmbiguousName(DataError):
    """Several images have a name. The message does not say where the name stands."""


def without_suffix(name: str) -> str:
    """Return the name of a file without its suffix, which may have several parts."""
    long = next((suffix for suffix in LONG_SUFFIXES if name.lower().endswith(suffix)), None)
    return name[: -len(long)] if long else Path(name).stem


@dataclass(frozen=True, slots=True)
class NamedImages:
    """The images that a CSV file may name.

    Attributes:
        table: The CSV file.
        folder: Folder that paths are relative to; None for that of the CSV file. Below it, an image is also found by
            its name alone, in any folder.

    Raises:
        DataError: There is no such folder.
    """

    table: Path
    folder: Path | None = None
    _found: dict[tuple[Path, bool], dict[str, list[Path]]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if self.folder is not None and not self.folder.is_dir():
            raise DataError(f"--images {self.folder}: no such folder; give the folder that holds the images")

    @property
    def root(self) -> Path:
        """Folder that paths are relative to."""
        return self.table.parent if self.folder is None else self.folder

    def find(self, name: str) -> Path | None:
        """Return the image of a name; None if there is none.

        Raises:
            AmbiguousName: There are several.
        """
        path = self.root / name
        if (file := existing_spelling(path)) is not None:
            return file
        parent = existing_spelling(path.parent)
        found = [] if parent is None else self._images(parent, deep=False).get(composed(path.name), [])
        if not found and self.folder is not None:
            found = self._images(self.folder, deep=True).get(composed(name), [])
        if len(found) > 1:
            raise AmbiguousName(f"{name} may be {found[0]} or {found[1]}; give the path with its suffix")
        return found[0] if found else None

    def find_labels(self, name: str) -> Path | None:
        """Return the file of labels of a name, relative to the CSV file or else to the folder; None without one."""
        places = dict.fromkeys((self.table.parent, self.root))
        return next(
            (file for place in places if (file := existing_spelling(label_file(place / name))) is not None), None
        )

    def place(self, name: str) -> str:
        """Return where an image was looked for, for messages."""
        if self.folder is None:
            return f"{self.root / name}; paths are relative to the CSV file, or to --images FOLDER"
        return f"{name} in --images {self.folder}, with or without a suffix"

    def _images(self, folder: Path, deep: bool) -> dict[str, list[Path]]:
        """Return the images of a folder by their names, with suffix and without."""
        if (folder, deep) not in self._found:
            named: defaultdict[str, list[Path]] = defaultdict(list)
            for image in find_images(folder, deep=deep).images if folder.is_dir() else ():
                for name in dict.fromkeys((image.name, without_suffix(image.name))):
                    named[composed(name)].append(image)
            self._found[folder, deep] = named
        return self._found[folder, deep]
