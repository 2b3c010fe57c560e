"""Writes features as `fit embed --patches` does, with random values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitcli.tasks.encoding.features_file import ArraySpec, create_embeddings

HEIGHT, WIDTH, PATCH, GROUP, VALUES = 105, 160, 16, 4, 6
"""Size of the image, sides of a patch and a group, and width of a token: 7 x 10 patches in 2 x 3 groups."""

LEFT_OUT = (0, 1)
"""Group that was left out as background."""


def write_embedded(path: Path, patches: bool = True) -> NDArray[Any]:
    """Write a file of features; return the features of the patches [rows columns values]."""
    rng = np.random.default_rng(0)
    places = [(row, column) for row in range(2) for column in range(3) if (row, column) != LEFT_OUT]
    values = rng.normal(size=(len(places), GROUP * GROUP, VALUES)).astype("f4")
    specs = {
        "latents": ArraySpec((len(places), 2, 8), "float32"),
        "coordinates": ArraySpec((len(places), 2), "int64"),
        "windows": ArraySpec((len(places), 4), "int64"),
    }
    if patches:
        specs["patches"] = ArraySpec(values.shape, "float32")
    attributes = {"image": "a.tif", "height": HEIGHT, "width": WIDTH, "patch": PATCH, "group": GROUP, "mpp": 0.5}
    with create_embeddings(path, specs, attributes) as file:
        file.write("coordinates", slice(0, len(places)), np.array(places))
        if patches:
            file.write("patches", slice(0, len(places)), values)
    grid = np.full((2 * GROUP, 3 * GROUP, VALUES), np.nan, np.float32)
    for (row, column), group in zip(places, values, strict=True):
        grid[row * GROUP :, column * GROUP :][:GROUP, :GROUP] = group.reshape(GROUP, GROUP, VALUES)
    return grid[: -(-HEIGHT // PATCH), : -(-WIDTH // PATCH)]
