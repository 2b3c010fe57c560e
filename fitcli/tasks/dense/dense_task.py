"""The base of a task with an answer at every place: what follows from its model alone."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, cast

from fitcli.annotations.class_positions import Positions
from fitcli.data.dataset import Dataset, Sample
from fitcli.errors import DataError
from fitcli.memory.samples import SamplePass, StepInput
from fitcli.runs.config import RunConfig
from fitcli.runs.option import OptionError
from fitcli.runs.train_settings import TrainSettings
from fitcli.tasks.dense.dense_sample import DenseSample
from fitcli.tasks.task import PresetModel, Task
from models.config import DenseConfig
from models.dense import FITDense

CHANNELS = 3
"""Assumption of `Task.preset`: colour images."""

NAMED = 20
"""Number of classes to name."""


class DenseTask(Task[FITDense]):
    """A task whose answers lie in files beside the images; see `Task` for its members.

    Attributes:
        sample: The pass of inference over a sample image.
        answers: Word for the content of the files, for messages.
    """

    sample: ClassVar[DenseSample]
    answers: ClassVar[str]
    casts_weights_ahead: ClassVar[bool] = True
    class_weights: ClassVar[tuple[str, ...]] = ("head.",)

    def match(self, data: Path, dataset: Dataset, chosen: Sequence[Sample], config: RunConfig) -> list[Sample]:
        answered = [sample for sample in chosen if sample.target is not None]
        if not answered:
            raise DataError(f"{data}: no image has {self.answers} to compare with")
        return answered

    @abstractmethod
    def model_of(self, preset: str, channels: int, outputs: int, changes: Mapping[str, Any]) -> DenseConfig:
        """Return the model of a preset with the cells of the task.

        Raises:
            ConfigError: There is no such preset, or the changes are impossible.
        """

    def preset(self, name: str) -> PresetModel:
        config = self.model_of(name, CHANNELS, self.sample.outputs, {})
        return PresetModel(config, config.patch * config.group)

    def group_pixels(self, config: RunConfig) -> int:
        model = cast(DenseConfig, config.model)
        return model.patch * model.group

    def step_input(self, config: DenseConfig) -> StepInput:
        return self.sample.step_input(config)

    def typical_config(self, config: DenseConfig) -> DenseConfig:
        return self.sample.typical_config(config)

    @property
    def passes(self) -> SamplePass:
        return self.sample


def check_rare_windows(settings: TrainSettings, share: float) -> None:
    """Raise OptionError if windows are to be drawn around answers, but there are no windows."""
    if share and settings.size is None:
        raise OptionError("rare_windows", "is a share of random windows; give their --size, or leave it out")


def answers_of(dataset: Dataset) -> tuple[list[tuple[Path, Any]], set[Path]]:
    """Return the images that are surveyed with their answers, and those of them that are not trained on."""
    pairs = [(sample.path, sample.target) for sample in (*dataset.train, *dataset.validation)]
    return pairs, {sample.path for sample in dataset.validation}


def with_survey(dataset: Dataset, surveyed: Any, lines: Sequence[str], found: Any) -> Dataset:
    """Return a data set with what a survey of its answers found.

    Args:
        dataset: The data set.
        surveyed: The survey as the config needs it, without positions.
        lines: Lines that come before the notes of the survey.
        found: The survey, with `notes`, `warnings` and `positions`.
    """
    notes, warnings = (*lines, *found.notes, *dataset.notes), (*dataset.warnings, *found.warnings)
    return anchored(replace(dataset, notes=notes, warnings=warnings, surveyed=surveyed), found.positions)


def anchored(dataset: Dataset, positions: Mapping[Path, tuple[Positions, ...]]) -> Dataset:
    """Return a data set whose training windows may be drawn around positions of the classes."""
    train = tuple(replace(sample, anchors=positions.get(sample.path, ())) for sample in dataset.train)
    return replace(dataset, train=train)


def named_classes(texts: Sequence[str]) -> str:
    """Return texts on classes as one, of which the first are named and the others counted."""
    return ", ".join(texts[:NAMED]) + (f", and {len(texts) - NAMED} more" if len(texts) > NAMED else "")
