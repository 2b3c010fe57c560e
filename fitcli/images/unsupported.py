"""Tells files that a library does not read from damaged ones: a user would copy an intact file for nothing."""

from __future__ import annotations

import re

UNSUPPORTED = re.compile(
    r"not support|not available|unsupported|not implement|unknown raw mode|fit does not read", re.IGNORECASE
)
"""Words by which libraries say that they do not read a form; they raise errors of any type for it."""

CONVERT = "it may be intact, convert it with other software"


def is_unsupported(error: Exception) -> bool:
    """Return whether an error says that a form is not read."""
    return isinstance(error, NotImplementedError | ImportError) or UNSUPPORTED.search(str(error)) is not None


def advice_for(error: Exception, damaged: str) -> str:
    """Return the end of a message: what a file may be, and what to do.

    Args:
        error: Error of a library that read the file.
        damaged: The end for a damaged file.
    """
    return CONVERT if is_unsupported(error) else damaged
