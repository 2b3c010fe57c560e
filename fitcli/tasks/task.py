"""What differs between trainings: what a task has to say, to a loop that knows none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from torch import Tensor

from fitcli.data.batch import Batch
from fitcli.data.csv_listing import Labels
from fitcli.data.dataset import Dataset
from fitcli.data.read_item import Layout
from fitcli.data.survey import Survey
from fitcli.execution.job import Job, Outcome
from fitcli.execution.plan import ExecutionPlan
from fitcli.runs.config import RunConfig
from fitcli.runs.train_settings import TrainSettings
from fitcli.runs.weights import Checkpoint, TaskModel
from fitcli.tasks.context import TrainingRun


@dataclass(frozen=True, kw_only=True, slots=True)
class Validation:
    """How good a model is on images that it was not trained on.

    Attributes:
        loss: Mean over the images.
        scores: What else is known, by name.
        rank: Greater is better; the model with the greatest is kept.
        said: The score that matters, for a person to read: its name and its value.
    """

    loss: float
    scores: dict[str, float]
    rank: tuple[float, ...]
    said: tuple[str, str]


class DeferredScores(NamedTuple):
    """Values that are still on the device, and what they are good for once they are read.

    Attributes:
        values: Of any shape.
        scores: From these as a list to scores by name, summed over the images of a batch.
    """

    values: Tensor
    scores: Callable[[list[float]], dict[str, float]]


class Objective(Protocol):
    """What is minimised in one run."""

    @property
    def layout(self) -> Layout:
        """Of the images."""

    def job(self, model: TaskModel, batch: Batch, plan: ExecutionPlan | None = None) -> Job:
        """The mean loss over the images of a batch, on the device of the model; run as `plan`, or as the run, says."""

    def weight(self, batch: Batch) -> float:
        """How much a batch counts in a mean over several: what the sum in its loss was divided by."""

    def scores(self, batch: Batch, outcome: Outcome) -> DeferredScores | None:
        """What a step tells beside its loss; None for nothing. Does not wait for the device."""

    def validate(self, checkpoint: Checkpoint[TaskModel]) -> Validation:
        """Look at the validation images of the run, of which there are some; all processes get the same result.

        Raises:
            DataError: Too many of them cannot be read.
        """


class Task(Protocol):
    """A kind of training."""

    @property
    def labels(self) -> Labels:
        """What it makes of the classes of a data set."""

    def check(self, settings: TrainSettings) -> None:
        """Find what is wrong with settings before any data is looked at.

        Raises:
            FitError, ConfigError: There is no such preset, or its settings describe nothing.
        """

    def describe(self, settings: TrainSettings, dataset: Dataset, survey: Survey) -> RunConfig:
        """The model that follows from settings and data, and all it takes to use it.

        Raises:
            DataError, ConfigError: The images are not of a kind that can be learned.
        """

    def objective(self, run: TrainingRun) -> Objective:
        """What is minimised."""
