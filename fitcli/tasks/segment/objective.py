"""The training objective of segmentation: the loss of every labelled pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from fitcli.annotations.label_rules import LabelRules
from fitcli.data.batch import Batch
from fitcli.device.transfer import to_device
from fitcli.patches.cutting import statistics
from fitcli.runs.weights import Checkpoint, TaskModel
from fitcli.tasks.context import TrainingRun
from fitcli.tasks.dense.dense_objective import DenseObjective
from fitcli.tasks.dense.dense_step import CellLosses
from fitcli.tasks.segment.config import SegmentDetails
from fitcli.tasks.segment.label_patches import LabelPatches, LabelReader
from fitcli.tasks.segment.loss import CellLoss
from fitcli.tasks.segment.options import SegmentOptions
from fitcli.tasks.segment.step import label_losses
from fitcli.tasks.segment.validation import mean_iou, validate
from fitcli.tasks.task import Validation
from models.config import DenseConfig
from models.dense import FITDense


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentationObjective(DenseObjective):
    """Cross-entropy of labelled pixels; see `DenseObjective` for its members.

    Attributes:
        loss: Loss of the cells.
        loss_on_host: The same with its weights on the host, for numbers that a step needs there without waiting.
    """

    loss: CellLoss
    loss_on_host: CellLoss

    @property
    def targets(self) -> LabelReader:
        """What reads the labels; missing pixels have none."""
        config, model = self.run.config, cast(DenseConfig, self.run.config.model)
        details = cast(SegmentDetails, config.details)
        return LabelReader(details.table(config.classes), LabelRules(details.elsewhere), model.patch, model.group)

    def losses(self, model: FITDense, batch: Batch) -> CellLosses:
        """Return the losses of the labelled pixels."""
        labels = _labels(batch)
        return label_losses(model.config, lambda part: to_device(labels[part], batch.device), self.loss)

    def weight(self, batch: Batch) -> float:
        """Return the number of labelled pixels of a batch that this process computes, weighted as in the loss."""
        labels, mask = _labels(batch.on_host), batch.on_host.groups.mask
        classes = len(self.run.config.classes)
        counts = torch.bincount((labels if mask is None else labels[mask]).flatten(), minlength=256)
        return float(self.loss_on_host.weighted(counts[:classes].double()).sum())

    def validate(self, checkpoint: Checkpoint[TaskModel]) -> Validation:
        """Segment whole images, with the code of `fit segment`. The mean IoU ranks models, then the loss."""
        run = self.run
        sums = validate(
            cast(Checkpoint[FITDense], checkpoint),
            run.dataset.validation,
            run.runtime,
            run.bad_images,
            run.world,
            self.validation_settings,
            self.loss_on_host,
        )
        loss, (mean, each) = sums.loss / sums.weight, mean_iou(sums.confusion)
        accuracy = float(sums.confusion.trace() / sums.confusion.sum())
        named = {f"iou_{name}": iou for name, iou in zip(run.config.classes, each, strict=True) if iou is not None}
        return Validation(
            loss=loss,
            scores={"mean_iou": mean, "accuracy": accuracy, **named},
            rank=(mean, -loss),
            headline=("mean IoU", f"{mean:.3f}"),
            badness=sums.losses,
        )


def segmentation_objective(run: TrainingRun) -> SegmentationObjective:
    """Return the objective of a run."""
    mean, std = statistics(run.config.preprocessing, run.runtime.device)
    details, options = cast(SegmentDetails, run.config.details), cast(SegmentOptions, run.settings.options)
    equal = len(set(details.weights)) == 1
    loss_on_host = CellLoss(None if equal else torch.tensor(details.weights), options.focal)
    weights = loss_on_host.weights
    loss = loss_on_host._replace(weights=None if weights is None else to_device(weights, run.runtime.device))
    return SegmentationObjective(mean=mean, std=std, loss=loss, loss_on_host=loss_on_host, run=run)


def _labels(batch: Batch) -> Tensor:
    """Return the labels of the pixels, [g n patch*patch] uint8."""
    assert isinstance(batch.target, LabelPatches)
    return batch.target.numbers
