"""Checks the JSON documents of a zarr store before zarr-python parses them, whose time grows with every item."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fitcli.errors import ImageError

MAX_AXES, MAX_CODECS = 16, 8
"""Largest number of axes of an array, and of codecs of its chunks."""


def read_document(folder: Path) -> dict[str, Any]:
    """Return the JSON document of an array, or of a zarr 3 group; {} if there is none.

    Raises:
        ImageError: The document lists too many axes or codecs.
        ValueError: It is no JSON object.
    """
    for name in ("zarr.json", ".zarray"):
        if (folder / name).is_file():
            document = json.loads((folder / name).read_bytes())
            if not isinstance(document, dict):
                raise ValueError(f"{name} holds no JSON object")
            _check_lengths(document, folder)
            return document
    return {}


def group_attributes(folder: Path) -> dict[str, Any]:
    """Return the attributes of a group or an array, without those of members that its metadata may repeat."""
    for name in ("zarr.json", ".zattrs"):
        if (folder / name).is_file():
            document = json.loads((folder / name).read_bytes())
            attributes = document.get("attributes") or {} if name == "zarr.json" else document
            return attributes if isinstance(attributes, dict) else {}
    return {}


def _check_lengths(node: Any, folder: Path) -> None:
    """Check the lists of a document that describe chunks, nested codecs included."""
    pending = [node]
    while pending:
        item = pending.pop()
        for key, value in item.items():
            if key == "attributes" or key == "consolidated_metadata":
                continue
            if isinstance(value, list):
                most = MAX_CODECS if key in ("codecs", "index_codecs", "filters") else MAX_AXES
                if len(value) > most:
                    raise ImageError(folder, f"lists {len(value):,} {key} in its metadata; fit reads at most {most}")
                pending += [each for each in value if isinstance(each, dict)]
            elif isinstance(value, dict):
                pending.append(value)
