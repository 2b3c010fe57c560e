"""What is minimised: small callables from a model and a batch to a loss."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fitcli.patches import normalize
from fitcli.training.loader import Batch
from models.encoder import FITClassifier


@dataclass(frozen=True, slots=True)
class ClassificationObjective:
    """Cross-entropy of whole images.

    Attributes:
        mean, std: [channels] of the training pixels, on the device of the model.
        weights: [k] of the classes in the loss; None for equal ones.
        smoothing: Share of each target that is spread over all classes.
    """

    mean: Tensor
    std: Tensor
    weights: Tensor | None
    smoothing: float

    def __call__(self, model: FITClassifier, batch: Batch) -> tuple[Tensor, Tensor]:
        """Mean loss over the images of a batch, and which of them [b] are classified rightly."""
        patches = normalize(batch.patches, self.mean, self.std) * batch.gain + batch.shift
        logits = model(patches, batch.groups).logits.float()
        loss = F.cross_entropy(logits, batch.labels, self.weights, label_smoothing=self.smoothing)
        return loss, logits.detach().argmax(dim=-1) == batch.labels


def balanced_weights(labels: Tensor, classes: int) -> Tensor:
    """Weights [k] that give all classes the same say: inverse frequencies, 1 on average over the images."""
    counts = torch.bincount(labels, minlength=classes).float()
    return len(labels) / (classes * counts.clamp(min=1))
