"""Answer at every place of an image with FIT: every token, which has read the whole image, becomes a square of cells.

The head is linear: Segmenter found linear heads nearly as good as larger ones, and small patches more important than
the head (Strudel et al. 2021, arXiv:2105.05633, section 4.2).
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from models.config import DenseConfig
from models.encoder import FITEncoder
from models.groups import Groups


class FITDense(nn.Module):
    """An encoder whose plan ends with local layers, and a head that maps each token to cells."""

    def __init__(self, config: DenseConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = FITEncoder(config)
        self.head = nn.Linear(config.token_width, config.cells**2 * config.outputs)

    def forward(self, patches: Tensor, groups: Groups) -> Tensor:
        """Map patches [g n p], normalised, to the values of their cells, [g n q*q*o]; those of padding mean nothing."""
        values: Tensor = self.head(self.encoder(patches, groups).tokens)
        return values

    def cells_of_tokens(self, tokens: Tensor) -> Tensor:
        """Map tokens [... c] after the last segment, not normalised, to the values of their cells, [... q*q*o]."""
        values: Tensor = self.head(self.encoder.token_norm(tokens))
        return values


def by_cell(values: Tensor, outputs: int) -> Tensor:
    """Return the values [... q*q*o] of patches by cell, [... q*q o]; cells are in row-major order in their patch."""
    return rearrange(values, "... (cells outputs) -> ... cells outputs", outputs=outputs)


def cell_map(values: Tensor, group: int, cells: int) -> Tensor:
    """Lay one value per cell, [g n q*q], out as maps of the groups, [g group*q group*q].

    Args:
        values: Values of the cells.
        group: Patches per side of a group.
        cells: Cells per side of a patch, q.
    """
    return rearrange(values, "g (i j) (y x) -> g (i y) (j x)", i=group, j=group, y=cells, x=cells)


def class_counts(labels: Tensor, cells: int, patch: int, classes: int) -> Tensor:
    """Count the labelled pixels of each class in each cell.

    Args:
        labels: Class numbers of the pixels of patches, [... p] uint8 with p = patch * patch; a number of `classes` or
            more, such as 255, is no label.
        cells: Cells per side of a patch, q.
        patch: Pixels per side of a patch.
        classes: Number of classes, k.

    Returns:
        Counts [... q*q k], float32.
    """
    side = patch // cells
    pixels = rearrange(labels, "... (y i x j) -> ... (y x) (i j)", y=cells, x=cells, i=side, j=side)
    numbers = pixels.to(torch.int64).clamp(max=classes)
    counts = torch.zeros(*numbers.shape[:-1], classes + 1, device=labels.device)
    return counts.scatter_add_(-1, numbers, torch.ones((), device=labels.device).expand(numbers.shape))[..., :classes]
