"""The loss of detection: a focal loss of the heat of every class, which class a middle has, and the overlap of boxes.

All are sums over cells. The focal loss is almost content with a second class at a middle: it learns to leave most cells
without heat. Therefore middles also have a cross entropy over the classes.

The head gives differences from a prior: that no cell is the middle of an object but one in a hundred (Lin et al. 2017,
arXiv:1708.02002, section 4.1), and that boxes have the typical size. So a new model begins there.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

PRIOR_LOGIT = -math.log(99)
"""Logit of the heat of a new model: a probability of 0.01."""

LEAST_LOG, GREATEST_LOG = -4.0, 8.0
"""Limits of the logarithm of a distance, in units of the typical half side."""

NO_CLASS = -1e4
"""Logit of a class that takes no part."""

BOX_WEIGHT = 5.0
"""Weight of the overlap against the heat, as in arXiv:1909.00700, section 3.3."""

CLASS_WEIGHT = 1.0
"""Weight of the cross entropy over the classes of a middle."""

CELLS_PER_OBJECT = 16384
"""Number of counted cells that count as one object in the divisor of the loss, so that images without an object count,
too: those of 512 x 512 pixels and cells of 4 pixels."""


class CellTruth(NamedTuple):
    """Targets of some groups, on the device of the predictions. Indices count from the first of the groups.

    Attributes:
        counted: Flags of the cells that count, [part c] bool.
        heat_keys, heat: Index into [part c k] and heat, [e].
        box_keys, sides, weights: Index into [part c], distances in cells [f 4], and weights [f].
    """

    counted: Tensor
    heat_keys: Tensor
    heat: Tensor
    box_keys: Tensor
    sides: Tensor
    weights: Tensor


class DetectionLoss(NamedTuple):
    """The loss over cells.

    Attributes:
        classes: Number of classes, k.
        half_side: Typical half side of a box, in cells; 0 for points.
    """

    classes: int
    half_side: float

    def of(self, values: Tensor, truth: CellTruth) -> Tensor:
        """Return the sum over the cells of each group, [part].

        Args:
            values: Output of the head for the cells, [part c o].
            truth: Targets of the cells.
        """
        exact = values.to(torch.promote_types(values.dtype, torch.float32))
        logits = exact[..., : self.classes] + PRIOR_LOGIT
        losses = self._heat(logits, truth)
        if self.classes > 1:
            losses = losses + CLASS_WEIGHT * self._classes(logits, truth)
        if self.half_side:
            losses = losses + BOX_WEIGHT * self._boxes(exact, truth)
        return losses

    def _heat(self, logits: Tensor, truth: CellTruth) -> Tensor:
        """Return the penalty-reduced focal loss (arXiv:1904.07850, equation 1) of each group, [part]."""
        heat = logits.new_zeros(logits.numel()).index_copy_(0, truth.heat_keys, truth.heat.to(logits.dtype))
        heat = heat.view_as(logits)
        p = logits.sigmoid()
        log_p, log_not_p = torch.nn.functional.logsigmoid(logits), torch.nn.functional.logsigmoid(-logits)
        middle = (1 - p).square() * log_p
        elsewhere = (1 - heat).pow(4) * p.square() * log_not_p
        losses = -torch.where(heat == 1, middle, elsewhere).sum(dim=-1)
        return losses.masked_fill(~truth.counted, 0.0).sum(dim=-1)

    def _classes(self, logits: Tensor, truth: CellTruth) -> Tensor:
        """Return the cross entropy of each class of a middle against those that have no object there, [part]."""
        cells = truth.heat_keys // self.classes
        is_middle = logits.new_zeros(logits.numel()).index_copy_(0, truth.heat_keys, (truth.heat == 1).to(logits.dtype))
        chosen = logits.reshape(-1, self.classes).index_select(0, cells)
        others = chosen.masked_fill(is_middle.view(-1, self.classes)[cells] == 1, NO_CLASS).logsumexp(dim=-1)
        own = logits.reshape(-1).index_select(0, truth.heat_keys)
        losses = torch.nn.functional.softplus(others - own).masked_fill(truth.heat != 1, 0.0)
        placed = logits.new_zeros(logits.numel()).index_copy(0, truth.heat_keys, losses)
        return placed.view_as(logits).sum(dim=-1).masked_fill(~truth.counted, 0.0).sum(dim=-1)

    def _boxes(self, values: Tensor, truth: CellTruth) -> Tensor:
        """Return the weighted sum of 1 - GIoU (Rezatofighi et al. 2019, arXiv:1902.09630) of each group, [part]."""
        part, cells, outputs = values.shape
        chosen = values.reshape(part * cells, outputs).index_select(0, truth.box_keys)
        losses = 1 - generalized_overlap(distances(chosen[:, self.classes :], self.half_side), truth.sides)
        placed = values.new_zeros(part * cells).index_copy(0, truth.box_keys, losses * truth.weights)
        return placed.view(part, cells).masked_fill(~truth.counted, 0.0).sum(dim=-1)


def distances(values: Tensor, half_side: float) -> Tensor:
    """Return distances to the sides in cells, [... 4], from what the head gives."""
    return half_side * values.clamp(LEAST_LOG, GREATEST_LOG).exp()


def generalized_overlap(found: Tensor, true: Tensor) -> Tensor:
    """Return GIoU [f] of boxes that are given by distances of one point to their sides, [f 4]."""
    true = true.to(found.dtype)
    low, high = torch.minimum(found, true), torch.maximum(found, true)
    both = (low[:, 0] + low[:, 2]) * (low[:, 1] + low[:, 3])
    areas = [(each[:, 0] + each[:, 2]) * (each[:, 1] + each[:, 3]) for each in (found, true)]
    either = areas[0] + areas[1] - both
    around = (high[:, 0] + high[:, 2]) * (high[:, 1] + high[:, 3])
    return both / either - (around - either) / around
