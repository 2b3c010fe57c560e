"""The loss of segmentation against the cross-entropy of pixels, by torch."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fitcli.tasks.segment.loss import CellLoss, class_weights
from models.dense import cell_map, class_counts

CLASSES, PATCH, CELLS, GROUP = 4, 8, 4, 2


def images() -> tuple[Tensor, Tensor]:
    """Return logits [g n q*q k] and labels [g n p] with every kind of pixel: of all classes, and without a label."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, GROUP**2, CELLS**2, CLASSES, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, CLASSES + 1, (3, GROUP**2, PATCH**2), generator=generator)
    return logits, labels.masked_fill(labels == CLASSES, 255).to(torch.uint8)


def in_pixels(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the same as pictures: logits [g k height width], enlarged, and labels [g height width]."""
    maps = torch.stack([cell_map(logits[..., number], GROUP, CELLS) for number in range(CLASSES)], dim=1)
    return F.interpolate(maps, scale_factor=PATCH // CELLS), cell_map(labels, GROUP, PATCH).long()


@pytest.mark.parametrize("weights", [None, (1.0, 0.5, 3.0, 2.0)])
def test_cells_give_the_cross_entropy_of_pixels(weights: tuple[float, ...] | None) -> None:
    logits, labels = images()
    table = None if weights is None else torch.tensor(weights)
    loss, counts = CellLoss(table), class_counts(labels, CELLS, PATCH, CLASSES)
    total = loss.of(logits, counts).sum() / loss.weighted(counts).sum()
    weight = None if table is None else table.double()
    expected = F.cross_entropy(*in_pixels(logits, labels), weight=weight, ignore_index=255)
    torch.testing.assert_close(total, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("exponent", [0.5, 2.0])
def test_the_focal_loss_is_that_of_pixels(exponent: float) -> None:
    logits, labels = images()
    total = CellLoss(focal=exponent).of(logits, class_counts(labels, CELLS, PATCH, CLASSES)).sum()
    pictures, truth = in_pixels(logits, labels)
    chosen = pictures.log_softmax(dim=1).gather(1, truth.clamp(max=CLASSES - 1)[:, None])[:, 0]
    expected = (-((1 - chosen.exp()) ** exponent) * chosen)[truth < CLASSES].sum()
    torch.testing.assert_close(total, expected, rtol=1e-12, atol=0)


def test_sure_predictions_have_finite_gradients() -> None:
    logits = torch.tensor([[1e4, -1e4], [-1e4, 1e4]], requires_grad=True)
    CellLoss(focal=0.5).of(logits, torch.tensor([[3.0, 0.0], [3.0, 1.0]])).sum().backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize(("kind", "ratio"), [("none", 1.0), ("root", 3.0), ("inverse", 9.0)])
def test_rare_classes_weigh_more(kind: str, ratio: float) -> None:
    pixels = (900, 100)
    frequent, rare = class_weights(kind, pixels)
    assert rare / frequent == pytest.approx(ratio)
    assert (900 * frequent + 100 * rare) / 1000 == pytest.approx(1)
