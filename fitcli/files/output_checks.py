"""Where a command may write, found out before any work. One rule for every option that names a place:

a folder that the user names for what is written is made, with those above it; the folder of a file has to be there.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from fitcli.errors import FitError
from fitcli.files.atomic import check_writable


def check_file(option: str, path: Path) -> None:
    """Find out whether a file, or an image that is a folder of chunks, can be written. Makes nothing.

    Args:
        option: That names it, for the message.
        path: Of the file.

    Raises:
        FitError: Its folder is not there, or takes no files.
    """
    folder = path.absolute().parent
    if not folder.is_dir():
        raise FitError(f"{option} {path}: no folder {folder}; make it first")
    _check(option, path, folder)


def check_folder(option: str, path: Path) -> None:
    """Find out whether files can be written to a folder, which is there or can be made. Makes nothing.

    Raises:
        FitError: Neither.
    """
    _check(option, path, path)


def check_spares(option: str, targets: Iterable[Path], others: Iterable[Path]) -> None:
    """Find out whether what is written would replace what a command reads, or writes besides.

    Raises:
        FitError: It would.
    """
    taken = {os.path.realpath(path) for path in others}
    for target in targets:
        if os.path.realpath(target) in taken:
            raise FitError(f"{option} {target} would replace what this command reads or writes; choose another place")


def _check(option: str, path: Path, folder: Path) -> None:
    try:
        check_writable(folder)
    except OSError as error:
        raise FitError(f"{option} {path}: cannot be written to ({error.strerror}); choose another place") from None
