"""What is minimised: from a model and a batch to the job of a training step."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fitcli.execution.job import Job
from fitcli.execution.jobs import classification_job
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

    def job(self, model: FITClassifier, batch: Batch) -> Job:
        """The mean loss over the images of a batch; puts out their logits [b k].

        Of the pixels only their bytes are kept: they are normalised where they are embedded.
        """

        def patches(part: slice) -> Tensor:
            return normalize(batch.patches[part], self.mean, self.std) * batch.gain[part] + batch.shift[part]

        def loss(logits: Tensor) -> Tensor:
            return F.cross_entropy(logits.float(), batch.labels, self.weights, label_smoothing=self.smoothing)

        return classification_job(model, batch.groups, patches, loss)


def balanced_weights(labels: Tensor, classes: int) -> Tensor:
    """Weights [k] that give all classes the same say: inverse frequencies, 1 on average over the images."""
    counts = torch.bincount(labels, minlength=classes).float()
    return len(labels) / (classes * counts.clamp(min=1))
