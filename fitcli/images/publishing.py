"""Publishes image files and folders when they are complete, with errors as `ImageError`."""

from __future__ import annotations

from pathlib import Path

from fitcli.errors import ImageError
from fitcli.files.publish import Publication, followed
from fitcli.files.write_errors import NO_ROOM, reason_and_advice


def cannot_write(path: Path, error: OSError, needed_bytes: int | None = None) -> ImageError:
    """Turn an `OSError` while an image is written into the error that the user sees.

    Args:
        path: Path of the image.
        error: The error; an `ImageError` is returned as it is.
        needed_bytes: Size of the file, for the message about a full disk; None if unknown.
    """
    if isinstance(error, ImageError):
        return error
    reason, advice = reason_and_advice(error)
    if error.errno in NO_ROOM and needed_bytes is not None:
        reason += f" (about {needed_bytes / 1e6:,.1f} MB more are needed there)"
    return ImageError(path, f"cannot be written: {reason}; {advice}")


class ImagePublication(Publication):
    """An image that is being written. A link at its path is followed: its target is replaced.

    Args:
        path: Path of the image.
        markers: Names of files, if the image is a folder: only a folder with one of them is replaced. None if the image
            is a file.

    Raises:
        ImageError: The parent folder does not exist or is not writable, or `path` is something else than an image.
    """

    def __init__(self, path: Path, markers: tuple[str, ...] | None = None) -> None:
        self._path, self._markers = path, markers
        target = followed(path)
        folder = target.parent
        if not folder.is_dir():
            missing = "is not a folder" if folder.exists() else "does not exist; create it first"
            raise ImageError(path, f"cannot be written: the folder {folder} {missing}")
        self._check(target)
        try:
            super().__init__(target, folder=markers is not None)
        except OSError as error:
            raise cannot_write(path, error) from error

    def publish(self) -> None:
        """Move the image to its path, see `Publication.publish`.

        Raises:
            ImageError: Meanwhile, `path` has become something else than an image.
            OSError: The image cannot be moved to its path.
        """
        self._check(self.destination)
        super().publish()

    def _check(self, target: Path) -> None:
        if self._markers is None:
            if target.is_dir():
                raise ImageError(self._path, "cannot be written: there is a folder of that name; choose another name")
        elif target.exists() and not any((target / marker).is_file() for marker in self._markers):
            reason = "cannot be written: what is there is not a zarr folder, so it is not replaced; choose another name"
            raise ImageError(self._path, reason)
