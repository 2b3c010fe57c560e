"""The training objective of segmentation: the loss of every labelled pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor

from fitcli.annotations.label_rules import LabelRules
from fitcli.data.batch import Batch
from fitcli.data.place import Layout
from fitcli.data.read_item import Reading
from fitcli.device.transfer import to_device
from fitcli.execution.job import Job, Outcome
from fitcli.execution.plan import ExecutionPlan
from fitcli.patches.cutting import statistics
from fitcli.runs.weights import Checkpoint, TaskModel
from fitcli.tasks.context import TrainingRun, place_rules
from fitcli.tasks.encoding.encode import EncodingSettings
from fitcli.tasks.encoding.training_input import augmented_patches, layers_to_skip
from fitcli.tasks.segment.config import SegmentDetails
from fitcli.tasks.segment.label_patches import LabelPatches, LabelReader
from fitcli.tasks.segment.loss import CellLoss
from fitcli.tasks.segment.options import SegmentOptions
from fitcli.tasks.segment.step import segmentation_job
from fitcli.tasks.segment.validation import mean_iou, validate
from fitcli.tasks.task import DeferredScores, Validation
from fitcli.tasks.validation_memory import validation_bytes
from models.config import DenseConfig
from models.dense import FITDense


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentationObjective:
    """Cross-entropy of labelled pixels; see `Objective` for its members.

    Attributes:
        mean, std: Mean and standard deviation of the training pixels, [channels], on the device of the model.
        loss: Loss of the cells.
        run: The run that is trained.
    """

    mean: Tensor
    std: Tensor
    loss: CellLoss
    run: TrainingRun

    counts_own_groups: ClassVar[bool] = True

    @property
    def options(self) -> SegmentOptions:
        """Options of the task."""
        return cast(SegmentOptions, self.run.settings.options)

    @property
    def reading(self) -> Reading:
        """How the images of the run are read; missing pixels have no label."""
        model, options, config = cast(DenseConfig, self.run.config.model), self.options, self.run.config
        details = cast(SegmentDetails, config.details)
        return Reading(
            layout=Layout(patch=model.patch, group=model.group),
            rules=place_rules(
                self.run,
                shift_canvas=options.shift_canvas,
                background=options.background,
                anchored=options.rare_windows,
            ),
            preprocessing=config.preprocessing,
            targets=LabelReader(
                table=details.table(config.classes),
                rules=LabelRules(details.elsewhere),
                patch=model.patch,
                group=model.group,
            ),
            marked=True,
        )

    def job(self, model: TaskModel, batch: Batch, plan: ExecutionPlan | None = None) -> Job:
        """Return the step of the mean loss over the labelled pixels of a batch, those of this process."""
        dense, labels = cast(FITDense, model), _labels(batch)
        # Without labels the loss is 0, whatever it is divided by.
        divisor = self.weight(batch) or 1.0
        return segmentation_job(
            dense,
            batch.groups,
            augmented_patches(batch, self.mean, self.std),
            lambda part: to_device(labels[part], batch.device),
            self.loss,
            divisor,
            layers_to_skip(dense.encoder, batch, self.options.drop_path, self.run.settings.seed),
        )

    def weight(self, batch: Batch) -> float:
        """Return the number of labelled pixels of a batch that this process computes, weighted as in the loss."""
        labels, mask = _labels(batch.on_host), batch.on_host.groups.mask
        classes = len(self.run.config.classes)
        counts = torch.bincount((labels if mask is None else labels[mask]).flatten(), minlength=256)
        return float(self.loss.weighted(counts[:classes].double()).sum())

    def scores(self, batch: Batch, outcome: Outcome) -> DeferredScores | None:
        """Return None: the loss is the only score of a step."""
        return None

    def validate(self, checkpoint: Checkpoint[TaskModel]) -> Validation:
        """Segment whole images, with the code of `fit segment`. The mean IoU ranks models, then the loss."""
        run = self.run
        sums = validate(
            cast(Checkpoint[FITDense], checkpoint),
            run.dataset.validation,
            run.runtime,
            run.bad_images,
            run.world,
            EncodingSettings(memory_bytes=validation_bytes(run), plans={}),
            self.loss._replace(weights=None if self.loss.weights is None else self.loss.weights.cpu()),
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
    weights = None if equal else to_device(torch.tensor(details.weights), run.runtime.device)
    return SegmentationObjective(mean=mean, std=std, loss=CellLoss(weights, options.focal), run=run)


def _labels(batch: Batch) -> Tensor:
    """Return the labels of the pixels, [g n patch*patch] uint8."""
    assert isinstance(batch.target, LabelPatches)
    return batch.target.numbers
