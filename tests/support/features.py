"""Reads files of features with the libraries that users would use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import zarr
from safetensors.numpy import load_file, safe_open


def load_features(path: Path) -> tuple[dict[str, np.ndarray], dict[str, object]]:
    """Return the arrays and the attributes of a file."""
    if path.suffix == ".zarr":
        group = zarr.open_group(path, mode="r")
        assert group.metadata.zarr_format == 3
        return {name: array[...] for name, array in group.arrays()}, dict(group.attrs)  # type: ignore[misc]
    with safe_open(path, framework="np") as file:
        attributes = file.metadata()
    return load_file(path), attributes
