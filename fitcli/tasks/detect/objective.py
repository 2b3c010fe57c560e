"""The training objective of detection: the loss of every cell that counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from fitcli.data.batch import Batch
from fitcli.patches.cutting import statistics
from fitcli.runs.weights import Checkpoint, TaskModel
from fitcli.tasks.context import TrainingRun
from fitcli.tasks.dense.dense_objective import DenseObjective
from fitcli.tasks.dense.dense_step import CellLosses
from fitcli.tasks.detect.cell_layout import CellLayout
from fitcli.tasks.detect.config import THRESHOLD, DetectDetails
from fitcli.tasks.detect.loss import DetectionLoss
from fitcli.tasks.detect.object_reader import CellTargets, ObjectReader
from fitcli.tasks.detect.step import object_losses
from fitcli.tasks.detect.validation import validate
from fitcli.tasks.task import Validation
from models.config import DenseConfig
from models.dense import FITDense


@dataclass(frozen=True, kw_only=True, slots=True)
class DetectionObjective(DenseObjective):
    """Focal loss of the heat and overlap of boxes; see `DenseObjective` for its members.

    Attributes:
        loss: Loss of the cells.
    """

    loss: DetectionLoss

    @property
    def targets(self) -> ObjectReader:
        """What reads the objects; cells without a pixel do not count."""
        config, layout = self.run.config, CellLayout.of(cast(DenseConfig, self.run.config.model))
        return ObjectReader(config.classes, layout, self.options.background is not None)

    def losses(self, model: FITDense, batch: Batch) -> CellLosses:
        """Return the losses of the cells that count."""
        targets = _targets(batch)
        return object_losses(lambda part: targets.part(part, batch.device), self.loss)

    def weight(self, batch: Batch) -> float:
        """Return the number of objects of a batch that this process computes, and a little for the area."""
        return _targets(batch.on_host).weight()

    def validate(self, checkpoint: Checkpoint[TaskModel]) -> Validation:
        """Find the objects of whole images, with the code of `fit detect`. AP50 ranks models, then the loss."""
        run = self.run
        found = validate(
            cast(Checkpoint[FITDense], checkpoint),
            run.dataset.validation,
            run.runtime,
            run.bad_images,
            run.world,
            self.validation_settings,
            self.loss,
        )
        return Validation(
            loss=found.loss,
            scores={"ap": found.ap, "ap50": found.ap50, "f1": found.f1, THRESHOLD: found.threshold},
            rank=(found.ap50, -found.loss),
            headline=("AP50", f"{found.ap50:.3f}"),
            decisions={THRESHOLD: found.threshold},
            badness=found.errors,
        )


def detection_objective(run: TrainingRun) -> DetectionObjective:
    """Return the objective of a run."""
    mean, std = statistics(run.config.preprocessing, run.runtime.device)
    details, model = cast(DetectDetails, run.config.details), cast(DenseConfig, run.config.model)
    loss = DetectionLoss(len(run.config.classes), details.half_side(model.cell))
    return DetectionObjective(mean=mean, std=std, loss=loss, run=run)


def _targets(batch: Batch) -> CellTargets:
    assert isinstance(batch.target, CellTargets)
    return batch.target
