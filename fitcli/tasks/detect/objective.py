"""The training objective of detection: the loss of every cell that counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

from torch import Tensor

from fitcli.data.batch import Batch
from fitcli.data.place import Layout
from fitcli.data.read_item import Reading
from fitcli.execution.job import Job, Outcome
from fitcli.execution.plan import ExecutionPlan
from fitcli.patches.cutting import statistics
from fitcli.runs.weights import Checkpoint, TaskModel
from fitcli.tasks.context import TrainingRun, place_rules
from fitcli.tasks.detect.cell_layout import CellLayout
from fitcli.tasks.detect.config import THRESHOLD, DetectDetails
from fitcli.tasks.detect.loss import DetectionLoss
from fitcli.tasks.detect.object_reader import CellTargets, ObjectReader
from fitcli.tasks.detect.options import DetectOptions
from fitcli.tasks.detect.step import detection_job
from fitcli.tasks.detect.validation import validate
from fitcli.tasks.encoding.encode import EncodingSettings
from fitcli.tasks.encoding.training_input import augmented_patches, layers_to_skip
from fitcli.tasks.task import DeferredScores, Validation
from fitcli.tasks.validation_memory import validation_bytes
from models.config import DenseConfig
from models.dense import FITDense


@dataclass(frozen=True, kw_only=True, slots=True)
class DetectionObjective:
    """Focal loss of the heat and overlap of boxes; see `Objective` for its members.

    Attributes:
        mean, std: Mean and standard deviation of the training pixels, [channels], on the device of the model.
        loss: Loss of the cells.
        run: The run that is trained.
    """

    mean: Tensor
    std: Tensor
    loss: DetectionLoss
    run: TrainingRun

    counts_own_groups: ClassVar[bool] = True

    @property
    def options(self) -> DetectOptions:
        """Options of the task."""
        return cast(DetectOptions, self.run.settings.options)

    @property
    def reading(self) -> Reading:
        """How the images of the run are read; cells without a pixel do not count."""
        model, options, config = cast(DenseConfig, self.run.config.model), self.options, self.run.config
        return Reading(
            layout=Layout(patch=model.patch, group=model.group),
            rules=place_rules(
                self.run,
                shift_canvas=options.shift_canvas,
                background=options.background,
                anchored=options.rare_windows,
            ),
            preprocessing=config.preprocessing,
            targets=ObjectReader(config.classes, CellLayout.of(model), options.background is not None),
            marked=True,
        )

    def job(self, model: TaskModel, batch: Batch, plan: ExecutionPlan | None = None) -> Job:
        """Return the step of the mean loss of a batch: of the cells of this process.

        The step keeps only the bytes of the pixels, and normalises them each time it embeds them.
        """
        dense, targets = cast(FITDense, model), _targets(batch)
        patches = augmented_patches(batch, self.mean, self.std)
        skipped = layers_to_skip(dense.encoder, batch, self.options.drop_path, self.run.settings.seed)
        # Where nothing counts the loss is 0, whatever it is divided by.
        divisor = self.weight(batch) or 1.0
        return detection_job(
            dense, batch.groups, patches, lambda part: targets.part(part, batch.device), self.loss, divisor, skipped
        )

    def weight(self, batch: Batch) -> float:
        """Return the number of objects of a batch that this process computes, and a little for the area."""
        return _targets(batch.on_host).weight()

    def scores(self, batch: Batch, outcome: Outcome) -> DeferredScores | None:
        """Return None: the loss is the only score of a step."""
        return None

    def validate(self, checkpoint: Checkpoint[TaskModel]) -> Validation:
        """Find the objects of whole images, with the code of `fit detect`. AP50 ranks models, then the loss."""
        run = self.run
        found = validate(
            cast(Checkpoint[FITDense], checkpoint),
            run.dataset.validation,
            run.runtime,
            run.bad_images,
            run.world,
            EncodingSettings(memory_bytes=validation_bytes(run), plans={}),
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
