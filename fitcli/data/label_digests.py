"""Digests of the files of labels of a data set, which tell a resumed run that somebody has edited them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fitcli.errors import DataError
from fitcli.files.content_digest import content_digest
from fitcli.files.path_choice import stored_path


def label_digests(files: Mapping[str, Path]) -> dict[str, str]:
    """Return a digest of the content of each file of labels, by its name within the data set.

    Raises:
        DataError: A file cannot be read.
    """
    digests: dict[str, str] = {}
    for name, path in files.items():
        try:
            digests[name] = content_digest(stored_path(path))
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror}); check the file of labels") from None
    return digests
