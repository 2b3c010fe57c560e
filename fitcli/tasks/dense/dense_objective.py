"""The training objective of a task whose loss is a sum over the cells that have an answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from torch import Tensor

from fitcli.data.batch import Batch
from fitcli.data.place import Layout
from fitcli.data.read_item import Reading, TargetReader
from fitcli.execution.job import Job, Outcome
from fitcli.execution.plan import ExecutionPlan
from fitcli.runs.weights import Checkpoint, TaskModel
from fitcli.tasks.context import TrainingRun, place_rules
from fitcli.tasks.dense.dense_step import CellLosses, dense_job
from fitcli.tasks.encoding.encode import EncodingSettings
from fitcli.tasks.encoding.training_input import augmented_patches, layers_to_skip
from fitcli.tasks.task import DeferredScores, Validation
from fitcli.tasks.validation_memory import validation_bytes
from models.config import DenseConfig
from models.dense import FITDense


@dataclass(frozen=True, kw_only=True, slots=True)
class DenseObjective(ABC):
    """Loss of the cells of a batch; see `Objective` for its members.

    Attributes:
        mean, std: Mean and standard deviation of the training pixels, [channels], on the device of the model.
        run: The run that is trained.
    """

    mean: Tensor
    std: Tensor
    run: TrainingRun

    counts_own_groups: ClassVar[bool] = True

    @property
    def options(self) -> Any:
        """Options of the task."""
        return self.run.settings.options

    @property
    def reading(self) -> Reading:
        """How the images of the run are read; where a pixel is missing, nothing counts."""
        model, options = cast(DenseConfig, self.run.config.model), self.options
        return Reading(
            layout=Layout(patch=model.patch, group=model.group),
            rules=place_rules(
                self.run,
                shift_canvas=options.shift_canvas,
                background=options.background,
                anchored=options.rare_windows,
            ),
            preprocessing=self.run.config.preprocessing,
            targets=self.targets,
            marked=True,
        )

    def job(self, model: TaskModel, batch: Batch, plan: ExecutionPlan | None = None) -> Job:
        """Return the step of the mean loss over what counts in a batch, of this process.

        The step keeps only the bytes of the pixels, and normalises them each time it embeds them.
        """
        dense = cast(FITDense, model)
        return dense_job(
            dense,
            batch.groups,
            augmented_patches(batch, self.mean, self.std),
            self.losses(dense, batch),
            # Where nothing counts the loss is 0, whatever it is divided by.
            self.weight(batch) or 1.0,
            layers_to_skip(dense.encoder, batch, self.options.drop_path, self.run.settings.seed),
        )

    def scores(self, batch: Batch, outcome: Outcome) -> DeferredScores | None:
        """Return None: the loss is the only score of a step."""
        return None

    @property
    def validation_settings(self) -> EncodingSettings:
        """Settings with which whole validation images are read."""
        return EncodingSettings(memory_bytes=validation_bytes(self.run), plans={})

    @property
    @abstractmethod
    def targets(self) -> TargetReader:
        """What reads the answers of the images."""

    @abstractmethod
    def losses(self, model: FITDense, batch: Batch) -> CellLosses:
        """Return the losses of the cells of a batch."""

    @abstractmethod
    def weight(self, batch: Batch) -> float:
        """Return the divisor of the loss of a batch: what this process computes, see `counts_own_groups`."""

    @abstractmethod
    def validate(self, checkpoint: Checkpoint[TaskModel]) -> Validation:
        """Score a model on whole validation images."""
