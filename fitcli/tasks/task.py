"""The protocol of a task: everything that training, evaluation and profiling need from it.

A task is one folder and one line in `registry.py`; outside its folder, only the registry and commands name it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar

from torch import Tensor

from fitcli.data.batch import Batch
from fitcli.data.column_kinds import LABEL_KINDS, Kinds
from fitcli.data.csv_listing import Labels
from fitcli.data.dataset import Dataset, Sample
from fitcli.data.read_item import Reading
from fitcli.data.survey import Survey
from fitcli.device.runtime import Runtime
from fitcli.errors import CheckpointError
from fitcli.execution.job import Job, Outcome
from fitcli.execution.plan import ExecutionPlan
from fitcli.images.base import ImageReader
from fitcli.memory.samples import SamplePass, StepInput
from fitcli.runs.config import ModelConfig, RunConfig, TaskDetails
from fitcli.runs.train_settings import TrainSettings
from fitcli.runs.weights import Checkpoint, TaskModel
from fitcli.tasks.class_targets import match_classes
from fitcli.tasks.context import TrainingRun
from fitcli.tasks.encoding.encode import EncodingSettings
from fitcli.tasks.evaluation_result import Evaluation, Split, UnitScores
from fitcli.tasks.task_report import TaskReport
from models.config import EncoderConfig
from models.groups import Groups

M = TypeVar("M", bound=TaskModel)


@dataclass(frozen=True, kw_only=True, slots=True)
class Validation:
    """Scores of a model on the validation images.

    Attributes:
        loss: Mean over the images.
        scores: Other scores, by name.
        rank: Quality, compared as a tuple: the model with the greatest rank is kept.
        headline: Name and value of the most important score, as text.
        decisions: Entries of config.json that follow from this validation, see `TaskDetails.with_decisions`.
        badness: How bad the answer to each image is, by its number among the validation images; the greatest is the
            worst. Empty for tasks that score images together.
    """

    loss: float
    scores: dict[str, float]
    rank: tuple[float, ...]
    headline: tuple[str, str]
    decisions: Mapping[str, Any] = field(default_factory=dict)
    badness: Mapping[int, float] = field(default_factory=dict)


class DeferredScores(NamedTuple):
    """Scores of a batch whose values are still on the device.

    Attributes:
        values: Values of any shape.
        scores: Maps the values, as a list, to scores by name, summed over the images of the batch.
    """

    values: Tensor
    scores: Callable[[list[float]], dict[str, float]]


class Objective(Protocol):
    """The objective that one run minimises.

    Attributes:
        counts_own_groups: Whether `weight` counts what this process computes, where processes share an image, and the
            loss of `job` is the mean over that. Otherwise both are those of whole images.
    """

    @property
    def counts_own_groups(self) -> bool: ...

    @property
    def reading(self) -> Reading:
        """How the images of the run are read."""

    def job(self, model: TaskModel, batch: Batch, plan: ExecutionPlan | None = None) -> Job:
        """Return the step of the mean loss over the images of a batch.

        Args:
            model: The model of the run.
            batch: Images on the device of the model.
            plan: Execution of the step; None for that of the run.
        """

    def weight(self, batch: Batch) -> float:
        """Return the divisor of the loss of a batch, which is its weight in a mean over several batches.

        It is 0 for a batch in which nothing counts, such as images without labels.
        """

    def scores(self, batch: Batch, outcome: Outcome) -> DeferredScores | None:
        """Return the scores of a step besides its loss, without waiting for the device; None if there are none."""

    def validate(self, checkpoint: Checkpoint[TaskModel]) -> Validation:
        """Score a model on the validation images of the run, one or more. All processes get the same scores.

        Raises:
            DataError: Too many of the images cannot be read.
        """


class Scorer(Protocol):
    """Scores a model on the images of a data set, one by one."""

    @property
    def depends_on(self) -> tuple[object, ...]:
        """Values, as JSON data, that the scores depend on besides the model, the image and its target."""

    def score(self, image: ImageReader, sample: Sample, number: int) -> list[float]:
        """Return the values of one image from which `summarize` computes the scores.

        Args:
            image: The open image.
            sample: The image in the data set, its target in the numbers of the run.
            number: Number of the image, which seeds random choices.

        Raises:
            ImageError: The image cannot be read, or is not of a kind that the model was trained on.
        """

    def summarize(self, scored: Sequence[tuple[Sample, list[float]]], split: Split, failed: int) -> Evaluation:
        """Return the scores over all images that could be read.

        Args:
            scored: The images, one or more, each with the result of `score`.
            split: Split of the images.
            failed: Number of images that could not be read.
        """


class UnitScorer(Scorer, Protocol):
    """A scorer that can also score patients, see `Task.scores_units`."""

    def per_unit(self, scored: Sequence[tuple[Sample, list[float]]]) -> UnitScores:
        """Return the scores of patients, from the images that could be read, one or more."""


class PresetModel(NamedTuple):
    """A named model size.

    Attributes:
        config: The architecture.
        group_pixels: Side of a group, in pixels.
    """

    config: ModelConfig
    group_pixels: int


class Task(ABC, Generic[M]):
    """A kind of training, with everything that belongs to it.

    Attributes:
        name: Name on the command line and in config.json.
        details: Class of its part of config.json.
        labels: Use of classes in training: "needed", "welcome" or "ignored".
        several_targets: Whether a data set may have several targets.
        target_kinds: The kinds of targets that it may have.
        used_by: Commands that use its runs, for error messages.
        casts_weights_ahead: Whether inference holds weights in the precision in which they are multiplied.
        class_weights: Prefixes of the names of weights that depend on the classes of a run.
        profiled_preset: Preset that `fit profile-memory` describes without `--preset`.
        scores_units: Whether its scorer is a `UnitScorer`.
        crops_to_groups: Whether training leaves out pixels that do not fill a group; otherwise images are padded.
    """

    name: ClassVar[str]
    details: ClassVar[type[TaskDetails]]
    labels: ClassVar[Labels]
    several_targets: ClassVar[bool] = False
    target_kinds: ClassVar[Kinds] = LABEL_KINDS
    used_by: ClassVar[str]
    casts_weights_ahead: ClassVar[bool] = False
    class_weights: ClassVar[tuple[str, ...]] = ()
    profiled_preset: ClassVar[str] = "base"
    scores_units: ClassVar[bool] = False
    crops_to_groups: ClassVar[bool] = False

    @abstractmethod
    def check(self, settings: TrainSettings) -> None:
        """Check settings before any data is read.

        Raises:
            FitError, ConfigError: There is no such preset, or a setting is impossible.
        """

    def survey_targets(self, settings: TrainSettings, dataset: Dataset) -> Dataset:
        """Read the targets of a data set before its first training, and return it with `surveyed`, notes and warnings.

        Raises:
            DataError: The targets contradict each other, or a model cannot learn them.
        """
        return dataset

    def resume_targets(self, settings: TrainSettings, dataset: Dataset, config: RunConfig) -> Dataset:
        """Return the data set of a resumed run with what its steps need to know of the targets beside the config.

        Raises:
            DataError: The targets cannot be read.
        """
        return dataset

    @abstractmethod
    def describe(self, settings: TrainSettings, dataset: Dataset, survey: Survey) -> RunConfig:
        """Return the config that follows from settings and data.

        Raises:
            DataError, ConfigError: The task cannot learn from such images.
        """

    def can_start_from(self, other: Task[Any]) -> bool:
        """Return whether a model can begin with the weights of a run of another task: both have an encoder."""
        return self is other or all(issubclass(task.details.model_type, EncoderConfig) for task in (self, other))

    @abstractmethod
    def objective(self, run: TrainingRun) -> Objective:
        """Return the objective of a run."""

    @abstractmethod
    def scorer(self, checkpoint: Checkpoint[M], runtime: Runtime, settings: EncodingSettings, whole: bool) -> Scorer:
        """Return the scorer of `fit evaluate`.

        Args:
            checkpoint: The model.
            runtime: Device and precision.
            settings: Settings with which encoders read images.
            whole: Whether the model was trained on whole images.
        """

    def image_vector(
        self, checkpoint: Checkpoint[M], image: ImageReader, runtime: Runtime, settings: EncodingSettings
    ) -> list[float]:
        """Return the vector from which the answer about an image follows, to compare sets of images.

        Raises:
            CheckpointError: Models of this task have no such vector.
        """
        raise CheckpointError(
            f"{checkpoint.folder}: was trained with --task {self.name}, which has no vector of an image; give a run of "
            "a task that names the class of an image"
        )

    @abstractmethod
    def report(self, checkpoint: Checkpoint[M], runtime: Runtime, settings: EncodingSettings) -> TaskReport:
        """Return what reports show of a model beside its scores.

        Args:
            checkpoint: The model.
            runtime: Device and precision.
            settings: Settings with which encoders read images.
        """

    def match(self, data: Path, dataset: Dataset, chosen: Sequence[Sample], config: RunConfig) -> list[Sample]:
        """Return samples of a data set with their targets in the numbers of a run.

        Raises:
            DataError: The data set lacks a target or a class of the run.
        """
        return match_classes(data, dataset, chosen, config)

    @abstractmethod
    def preset(self, name: str) -> PresetModel:
        """Return a model size for colour images.

        Raises:
            ConfigError: There is no such preset.
        """

    @abstractmethod
    def group_pixels(self, config: RunConfig) -> int:
        """Return the side of a group of a run, in pixels."""

    @abstractmethod
    def step_input(self, config: Any) -> StepInput:
        """Return the input of one group of a training step, for a config of this task."""

    @abstractmethod
    def typical_config(self, config: Any) -> Any:
        """Return a config whose step takes the same memory beside the weights, with a usual number of classes.

        So the estimates of a preset need not be made again for every number of classes.
        """

    def typical_configs(self, preset: str) -> list[Any]:
        """Return the configs of a preset whose estimates fit ships."""
        return [self.typical_config(self.preset(preset).config)]

    @abstractmethod
    def sample_step(self, model: Any, groups: Groups, read: Callable[[slice], Tensor], plan: ExecutionPlan) -> Job:
        """Return a training step on sample images, to be estimated or measured.

        Args:
            model: A model of this task.
            groups: All groups of the batch, on its device.
            read: Returns the input of a slice of the groups, on the device of the model.
            plan: Execution of the step.
        """

    @property
    @abstractmethod
    def passes(self) -> SamplePass:
        """The forward pass of inference over a sample image, to be estimated or measured."""
