"""Removes what processes that were killed left, also those of older versions, and nothing of the user.

Older versions wrote beside the destination without a staging folder: to `.NAME.partial-TOKEN`, and, through the
safetensors library, to `.tmp??????`.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from fitcli.files.staging import REMOVED, is_staging, recover_folder

OLD_PARTIAL = re.compile(r"\.([0-9]{8,}|[a-z]+\.(?:json|jsonl|safetensors|pt))\.partial-[0-9a-f]{8}")
"""Names that older versions gave to unfinished files and folders of a run or a state."""

OLD_SAFETENSORS = re.compile(r"\.tmp[0-9A-Za-z]{6}")


def is_leftover(path: Path) -> bool:
    """Return whether a path in a folder that fit alone writes to is the rest of an interrupted write."""
    if path.is_symlink():
        return False
    if OLD_SAFETENSORS.fullmatch(path.name):
        return path.is_file() and _may_be_safetensors(path)
    if REMOVED.fullmatch(path.name):
        return path.is_dir()
    return OLD_PARTIAL.fullmatch(path.name) is not None or is_staging(path)


def remove_leftovers(folder: Path, *within: str) -> None:
    """Remove what interrupted writes left in a folder and in some folders within it; links are not followed.

    Args:
        folder: A folder that no other process writes to.
        within: Names of folders within it, which need not exist.
    """
    for place in (folder, *(folder / name for name in within)):
        if not place.is_dir() or (place != folder and place.is_symlink()):
            continue
        for left in filter(is_leftover, [*place.iterdir()]):
            _remove(left)


def remove_old_partials(destination: Path) -> None:
    """Remove what older versions left of a destination without other writers; put back what they moved away."""
    name = re.compile(re.escape(f".{destination.name}.partial-") + "[0-9a-f]{8}(-replaced)?")
    if not destination.parent.is_dir():
        return
    for left in [*destination.parent.iterdir()]:
        match = name.fullmatch(left.name)
        if match is not None and match[1] and not os.path.lexists(destination):
            # A process was killed after it had moved away what stood at the destination.
            os.rename(left, destination)
        elif match is not None:
            _remove(left)


def _remove(path: Path) -> None:
    if is_staging(path):
        recover_folder(path, alone=True)
    elif path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _may_be_safetensors(path: Path) -> bool:
    """Return whether a file may be the beginning of one: the length of a header, then the header, which is JSON."""
    if os.stat(path).st_size == 0:
        return True
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"
