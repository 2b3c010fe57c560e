"""The task `classify`: classes of whole images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from fitcli.data.column_kinds import Kinds
from fitcli.data.csv_listing import Labels
from fitcli.data.dataset import Dataset, Sample
from fitcli.data.survey import Survey
from fitcli.device.runtime import Runtime
from fitcli.errors import FitError
from fitcli.execution.job import Job
from fitcli.execution.plan import ExecutionPlan
from fitcli.images.base import ImageReader
from fitcli.memory.samples import SamplePass, StepInput
from fitcli.patches.sample_pixels import as_pixels
from fitcli.plugins.registry import PluginError, Registry
from fitcli.runs.config import RunConfig, TaskDetails
from fitcli.runs.targets import Target
from fitcli.runs.train_settings import TrainSettings
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.classify.config import ClassifyDetails
from fitcli.tasks.classify.heads import OUTPUT_HEADS
from fitcli.tasks.classify.image_vector import image_vector
from fitcli.tasks.classify.losses import LOSSES
from fitcli.tasks.classify.objective import ClassificationObjective, classification_objective
from fitcli.tasks.classify.options import USUAL_LOSS, ClassifyOptions
from fitcli.tasks.classify.report import ClassificationReport
from fitcli.tasks.classify.scorer import ClassificationScorer
from fitcli.tasks.classify.step import classification_job
from fitcli.tasks.classify.targets.kinds import TARGET_KINDS, kind_of
from fitcli.tasks.classify.targets.match_answers import match_answers
from fitcli.tasks.context import TrainingRun
from fitcli.tasks.encoding.encode import EncodingSettings
from fitcli.tasks.encoding.sample_pass import ENCODING
from fitcli.tasks.load import load_config
from fitcli.tasks.task import PresetModel, Task
from models.config import ClassifierConfig
from models.encoder import FITClassifier
from models.groups import Groups
from models.heads import build_head
from models.presets import classifier_preset

CHANNELS, CLASSES = 3, 1000
"""Assumptions of `Task.preset`: colour images, and as many classes as ImageNet."""


class Classify(Task[FITClassifier]):
    """`--task classify`; see `Task` for its members."""

    name: ClassVar[str] = "classify"
    details: ClassVar[type[TaskDetails]] = ClassifyDetails
    labels: ClassVar[Labels] = "needed"
    several_targets: ClassVar[bool] = True
    target_kinds: ClassVar[Kinds] = TARGET_KINDS
    used_by: ClassVar[str] = "`fit classify` and `fit embed`"
    # Not in tasks that generate images: these name the hash of the weights, which the precision must not change.
    casts_weights_ahead: ClassVar[bool] = True
    scores_units: ClassVar[bool] = True
    class_weights: ClassVar[tuple[str, ...]] = ("head.score.", "head.classify.")

    def check(self, settings: TrainSettings) -> None:
        config = classifier_preset(settings.preset, channels=1, classes=2, changes=settings.model_changes)
        _find(OUTPUT_HEADS, "--output-head", config.output_head)
        with torch.device("meta"):
            build_head(config)
        _find(LOSSES, "--loss", cast(ClassifyOptions, settings.options).loss)

    def describe(self, settings: TrainSettings, dataset: Dataset, survey: Survey) -> RunConfig:
        options = cast(ClassifyOptions, settings.options)
        channels, classes, targets = survey.preprocessing.channels, dataset.classes, kept_targets(settings, dataset)
        _check_options(options, targets)
        counts = tuple(target.outputs for target in targets)
        changes = survey.model_changes(settings.model_changes)
        model = classifier_preset(settings.preset, channels, sum(counts) or len(classes), changes)
        model = replace(model, targets=counts)
        preprocessing = replace(survey.preprocessing, background=options.background)
        details = ClassifyDetails(all_targets=targets)
        return RunConfig(model=model, preprocessing=preprocessing, classes=classes, details=details)

    def objective(self, run: TrainingRun) -> ClassificationObjective:
        return classification_objective(run)

    def scorer(
        self, checkpoint: Checkpoint[FITClassifier], runtime: Runtime, settings: EncodingSettings, whole: bool
    ) -> ClassificationScorer:
        return ClassificationScorer(checkpoint, runtime, settings)

    def image_vector(
        self, checkpoint: Checkpoint[FITClassifier], image: ImageReader, runtime: Runtime, settings: EncodingSettings
    ) -> list[float]:
        return image_vector(checkpoint, image, runtime, settings)

    def report(
        self, checkpoint: Checkpoint[FITClassifier], runtime: Runtime, settings: EncodingSettings
    ) -> ClassificationReport:
        return ClassificationReport(checkpoint, runtime, settings)

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

    def match(self, data: Path, dataset: Dataset, chosen: Sequence[Sample], config: RunConfig) -> list[Sample]:
        return match_answers(data, dataset, chosen, config)

    @property
    def passes(self) -> SamplePass:
        return ENCODING


def kept_targets(settings: TrainSettings, dataset: Dataset) -> tuple[Target, ...]:
    """Return the targets of a new run. Those of the run that it starts from keep the scale of that run."""
    if settings.start_from is None or not dataset.targets:
        return dataset.targets
    before = {target.name: target for target in load_config(Path(settings.start_from)).targets}
    earlier = [before.get(target.name, target) for target in dataset.targets]
    return tuple(
        old if replace(old, outputs=new.outputs, scale=new.scale) == new else new
        for old, new in zip(earlier, dataset.targets, strict=True)
    )


def _find(parts: Registry[Any], option: str, name: str) -> None:
    """Find a part that an option names, and name the option in the error if there is none."""
    try:
        parts.find(name)
    except PluginError as error:
        raise FitError(f"{option} {name}: {error.fault}") from None


def _check_options(options: ClassifyOptions, targets: Sequence[Target]) -> None:
    """Raise FitError if an option for classes is given, and no target names classes; or one for a single class."""
    if targets and options.loss != USUAL_LOSS:
        asked = ", ".join(target.column for target in targets)
        raise FitError(f"--loss: is for one class per image, and the data set has {asked}; leave it out")
    if not targets or any(kind_of(target).names_classes for target in targets):
        return
    given = {"--balance": options.balance, "--label-smoothing": options.label_smoothing > 0}
    if wrong := [name for name, is_given in given.items() if is_given]:
        asked = ", ".join(target.column for target in targets)
        raise FitError(f"{wrong[0]}: is for targets of classes, and the data set has {asked}; leave it out")


TASK = Classify()
