"""Says why a file cannot be written, and what to do about it."""

from __future__ import annotations

import errno

FULL_DISK = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Errors of a full disk, or of a used-up quota."""

NO_ROOM = FULL_DISK | {errno.EFBIG}
"""Errors that mean that no more can be written to a file."""

CLOSED_FOLDER = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR})
"""Errors of a folder that takes no files."""


def reason_and_advice(error: OSError) -> tuple[str, str]:
    """Return why a file cannot be written, and what the user can do."""
    reason = error.strerror or str(error)
    if error.errno in FULL_DISK:
        return "the disk is full", "free some space or write elsewhere"
    if error.errno == errno.EFBIG:
        return "it is larger than a file may be here", "raise the limit (ulimit -f), or write to another disk"
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return reason, "raise the limit (ulimit -n)"
    if error.errno in CLOSED_FOLDER:
        return reason, "check the folder and its permissions"
    return reason, "check the disk, or write elsewhere"
