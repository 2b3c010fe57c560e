"""The pass of `fit detect` and validation over a sample image, to be estimated or measured."""

from __future__ import annotations

import torch

from fitcli.patches.grid import PatchGrid
from fitcli.tasks.dense.dense_sample import DenseSample
from fitcli.tasks.detect.candidates import CandidateFinder, most_candidates
from fitcli.tasks.detect.cell_layout import CellLayout
from fitcli.tasks.detect.config import SIDES
from models.config import DenseConfig

TYPICAL_CLASSES, MOST_TYPICAL_CLASSES = 4, 8
"""Number of classes for which there is a table of memory, and up to how many classes a model takes about as much."""


def _scores(values: torch.Tensor, config: DenseConfig) -> None:
    """Compute the maps of the heat and make room for candidates, which takes the memory of what follows the head."""
    finder = CandidateFinder(CellLayout.of(config), max(1, config.outputs - SIDES), 1.0)
    side = config.patch * config.group
    finder.maps(values, [(0, 0)] * len(values), PatchGrid((side, side), config.patch, config.group))
    values.new_zeros(len(values), most_candidates(finder.layout.side), finder.columns, dtype=torch.float32)


DETECTING = DenseSample("detecting", TYPICAL_CLASSES + SIDES, MOST_TYPICAL_CLASSES + SIDES, _scores)
