"""Read a golden file, and convert between its axes [b g ...] and the list of groups."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.groups import Groups


class Case:
    """The configuration, weights and inputs of a golden file; its outputs are never read.

    Attributes:
        config: Configuration of the reference.
        weights: Weights of the reference by name, without `w/`.
        inputs: Inputs by name, without `in/`.
    """

    def __init__(self, path: Path) -> None:
        with np.load(path, allow_pickle=False) as file:
            self.config: dict[str, Any] = json.loads(str(file["config"]))
            self.weights = {k[2:]: torch.from_numpy(file[k]) for k in file.files if k.startswith("w/")}
            self.inputs = {k[3:]: torch.from_numpy(file[k]) for k in file.files if k.startswith("in/")}


def fold(x: Tensor) -> Tensor:
    """Join the axes of images and groups: [b g ...] -> [(b g) ...]."""
    return x.flatten(0, 1)


def unfold(x: Tensor, images: int) -> Tensor:
    """Split the axis of groups by image: [(b g) ...] -> [b g ...]."""
    return x.reshape(images, -1, *x.shape[1:])


def groups_of(x: Tensor) -> Groups:
    """Return the groups of x [b g ...]. Every image is one row: the tables of the reference only number the groups."""
    return Groups.of_grid(images=x.shape[0], rows=1, columns=x.shape[1])
