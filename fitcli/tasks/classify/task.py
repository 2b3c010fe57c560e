"""The task `classify`: classes of whole images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from fitcli.data.csv_listing import Labels
from fitcli.data.dataset import Dataset
from fitcli.data.survey import Survey
from fitcli.device.runtime import Runtime
from fitcli.execution.job import Job
from fitcli.execution.plan import ExecutionPlan
from fitcli.memory.samples import SamplePass, StepInput
from fitcli.patches.sample_pixels import as_pixels
from fitcli.runs.config import RunConfig, TaskDetails
from fitcli.runs.train_settings import TrainSettings
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.classify.config import ClassifyDetails
from fitcli.tasks.classify.objective import ClassificationObjective, classification_objective
from fitcli.tasks.classify.options import ClassifyOptions
from fitcli.tasks.classify.scorer import ClassificationScorer
from fitcli.tasks.classify.step import classification_job
from fitcli.tasks.context import TrainingRun
from fitcli.tasks.encoding.encode import EncodingSettings
from fitcli.tasks.encoding.sample_pass import ENCODING
from fitcli.tasks.task import PresetModel, Task
from models.config import ClassifierConfig
from models.encoder import FITClassifier
from models.groups import Groups
from models.presets import classifier_preset

CHANNELS, CLASSES = 3, 1000
"""Assumptions of `Task.preset`: colour images, and as many classes as ImageNet."""


class Classify(Task[FITClassifier]):
    """`--task classify`; see `Task` for its members."""

    name: ClassVar[str] = "classify"
    details: ClassVar[type[TaskDetails]] = ClassifyDetails
    labels: ClassVar[Labels] = "needed"
    several_targets: ClassVar[bool] = True
    used_by: ClassVar[str] = "`fit classify` and `fit embed`"
    # Not in tasks that generate images: these name the hash of the weights, which the precision must not change.
    casts_weights_ahead: ClassVar[bool] = True
    scores_units: ClassVar[bool] = True
    class_weights: ClassVar[tuple[str, ...]] = ("head.score.", "head.classify.")

    def check(self, settings: TrainSettings) -> None:
        classifier_preset(settings.preset, channels=1, classes=2, changes=settings.model_changes)

    def describe(self, settings: TrainSettings, dataset: Dataset, survey: Survey) -> RunConfig:
        options = cast(ClassifyOptions, settings.options)
        channels, classes = survey.preprocessing.channels, dataset.classes
        changes = survey.model_changes(settings.model_changes)
        model = classifier_preset(settings.preset, channels, len(classes), changes)
        if dataset.targets:
            counts = tuple(len(target.classes) for target in dataset.targets)
            model = replace(model, classes=sum(counts), targets=counts)
        preprocessing = replace(survey.preprocessing, background=options.background)
        details = ClassifyDetails(all_targets=dataset.targets)
        return RunConfig(model=model, preprocessing=preprocessing, classes=classes, details=details)

    def objective(self, run: TrainingRun) -> ClassificationObjective:
        return classification_objective(run)

    def scorer(
        self, checkpoint: Checkpoint[FITClassifier], runtime: Runtime, settings: EncodingSettings, whole: bool
    ) -> ClassificationScorer:
        return ClassificationScorer(checkpoint, runtime, settings)

    def preset(self, name: str) -> PresetModel:
        config = classifier_preset(name, CHANNELS, CLASSES)
        return PresetModel(config, config.patch * config.group)

    def group_pixels(self, config: RunConfig) -> int:
        model = cast(ClassifierConfig, config.model)
        return model.patch * model.group

    def step_input(self, config: ClassifierConfig) -> StepInput:
        return ENCODING.step_input(config)

    def typical_config(self, config: ClassifierConfig) -> ClassifierConfig:
        return ENCODING.typical_config(config)

    def sample_step(
        self, model: FITClassifier, groups: Groups, read: Callable[[slice], Tensor], plan: ExecutionPlan
    ) -> Job:
        labels = torch.zeros(groups.images, dtype=torch.long, device=groups.number.device)

        def loss(logits: Tensor) -> Tensor:
            return F.cross_entropy(logits.float(), labels)

        return classification_job(model, groups, lambda part, real: as_pixels(real.pack(read(part))), loss)

    @property
    def passes(self) -> SamplePass:
        return ENCODING


TASK = Classify()
