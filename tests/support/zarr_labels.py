"""Makes the metadata of label images inside OME-Zarr images, without pixels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def group(folder: Path, attributes: Any, version: str = "0.5") -> Path:
    """Write a zarr group with OME-Zarr attributes; return its folder."""
    folder.mkdir(parents=True)
    if version == "0.5":
        document = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": {"version": version, **attributes}}}
        (folder / "zarr.json").write_text(json.dumps(document))
    else:
        (folder / ".zgroup").write_text('{"zarr_format": 2}')
        (folder / ".zattrs").write_text(json.dumps(attributes))
    return folder


def zarr_with_labels(path: Path, *names: str) -> Path:
    """Write the groups of an image and of the label images in it; return the folder of the image."""
    group(path, {"multiscales": []})
    group(path / "labels", {"labels": list(names)})
    for name in names:
        group(path / "labels" / name, {})
    return path
