"""Checks where a command may write, before any work. One rule holds for every option that names an output:

a folder that the user names is created if need be, with its parents; the folder of a file has to exist.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryFile

from fitcli.errors import FitError
from fitcli.files.path_choice import stored_path
from fitcli.files.publish import followed, naming
from fitcli.files.staging import recover


def check_output_file(option: str, path: Path) -> None:
    """Check that a file, or an image that is a folder, can be written. Leaves nothing behind.

    If a process died while it replaced what stood there, that is put back first.

    Args:
        option: Name of the option, for the message.
        path: The output.

    Raises:
        FitError: Its folder does not exist, or no files can be made there.
    """
    for folder in dict.fromkeys((path.absolute().parent, followed(path).parent)):
        if not folder.is_dir():
            raise FitError(f"{option} {path}: no folder {folder}; make it first")
    _check_takes_files(option, path, followed(path).parent)
    with naming(path):
        for destination in {path, followed(path)}:
            recover(destination)


def check_output_folder(option: str, path: Path) -> None:
    """Check that files can be written to a folder, which exists or can be created. Leaves nothing behind.

    Raises:
        FitError: The folder can neither be written to nor be created.
    """
    _check_takes_files(option, path, path)


def check_not_replaced(option: str, destinations: Iterable[Path], others: Iterable[Path]) -> None:
    """Check that the outputs of a command do not replace its inputs, or its other outputs.

    Raises:
        FitError: One of `destinations` is the same file as one of `others`.
    """
    taken = {os.path.realpath(stored_path(path)) for path in others}
    for destination in destinations:
        if os.path.realpath(destination) in taken:
            raise FitError(
                f"{option} {destination} would replace what this command reads or writes; choose another place"
            )


def _check_takes_files(option: str, path: Path, folder: Path) -> None:
    """Check that a file can be made in a folder, or in the nearest folder above it that exists."""
    place = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    try:
        with TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise FitError(f"{option} {path}: cannot be written to ({error.strerror}); choose another place") from None
