"""The task `segment`: the class of every place of an image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from fitcli.annotations.class_table import parse_classes
from fitcli.annotations.label_rules import LabelRules
from fitcli.annotations.label_survey import LabelSurvey, draw_positions, survey_labels
from fitcli.data.csv_listing import Labels
from fitcli.data.dataset import Dataset
from fitcli.data.survey import Survey
from fitcli.device.runtime import Runtime
from fitcli.execution.job import Job
from fitcli.execution.plan import ExecutionPlan
from fitcli.images.read_as import ReadAs
from fitcli.runs.config import RunConfig, TaskDetails
from fitcli.runs.train_settings import TrainSettings
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.context import TrainingRun
from fitcli.tasks.dense.dense_sample import DenseSample
from fitcli.tasks.dense.dense_step import dense_job, sample_patches
from fitcli.tasks.dense.dense_task import (
    DenseTask,
    anchored,
    answers_of,
    check_rare_windows,
    named_classes,
    with_survey,
)
from fitcli.tasks.encoding.encode import EncodingSettings
from fitcli.tasks.segment.config import SegmentDetails
from fitcli.tasks.segment.loss import CellLoss, class_weights
from fitcli.tasks.segment.objective import SegmentationObjective, segmentation_objective
from fitcli.tasks.segment.options import SegmentOptions
from fitcli.tasks.segment.report import SegmentationReport
from fitcli.tasks.segment.sample_pass import SEGMENTING
from fitcli.tasks.segment.scorer import SegmentationScorer
from fitcli.tasks.segment.step import label_losses
from models.config import DenseConfig
from models.dense import FITDense
from models.groups import Groups
from models.presets import dense_preset

RARE = 0.01
"""Share of the labelled pixels below which a class is called rare."""


class Segmentation(DenseTask):
    """`--task segment`; see `DenseTask` for its members."""

    name: ClassVar[str] = "segment"
    details: ClassVar[type[TaskDetails]] = SegmentDetails
    labels: ClassVar[Labels] = "files"
    used_by: ClassVar[str] = "`fit segment`"
    scores_units: ClassVar[bool] = True
    sample: ClassVar[DenseSample] = SEGMENTING
    answers: ClassVar[str] = "labels"

    def check(self, settings: TrainSettings) -> None:
        options = cast(SegmentOptions, settings.options)
        dense_preset(settings.preset, channels=1, outputs=2, cell=options.cell, changes=settings.model_changes)
        if options.classes is not None:
            parse_classes(options.classes)
        LabelRules(options.elsewhere)
        check_rare_windows(settings, options.rare_windows)

    def survey_targets(self, settings: TrainSettings, dataset: Dataset) -> Dataset:
        options = cast(SegmentOptions, settings.options)
        table = None if options.classes is None else parse_classes(options.classes)
        read_as = ReadAs(**settings.reading)
        pairs, held_out = answers_of(dataset)
        wanted = options.rare_windows > 0
        rules, most_bad = LabelRules(options.elsewhere), settings.max_bad_images
        found = survey_labels(pairs, table, rules, read_as, most_bad, wanted, held_out)
        hint = _rare_line(found) if settings.size is not None and not wanted else ()
        return with_survey(dataset, found._replace(positions={}), [_class_line(found), *hint], found)

    def resume_targets(self, settings: TrainSettings, dataset: Dataset, config: RunConfig) -> Dataset:
        options, details = cast(SegmentOptions, settings.options), cast(SegmentDetails, config.details)
        if not options.rare_windows:
            return dataset
        pairs = [(sample.path, sample.target) for sample in dataset.train]
        table, rules = details.table(config.classes), LabelRules(details.elsewhere)
        how = config.preprocessing.read_as
        return anchored(dataset, draw_positions(pairs, table, rules, how, settings.max_bad_images))

    def describe(self, settings: TrainSettings, dataset: Dataset, survey: Survey) -> RunConfig:
        options, found = cast(SegmentOptions, settings.options), cast(LabelSurvey, dataset.surveyed)
        table, preprocessing = found.table, replace(survey.preprocessing, background=options.background)
        changes = survey.model_changes(settings.model_changes)
        # A cell of features is one place, unless patches of several places are chosen.
        cell = min(options.cell, changes["patch"]) if preprocessing.features else options.cell
        return RunConfig(
            model=dense_preset(settings.preset, preprocessing.channels, len(table.names), cell, changes),
            preprocessing=preprocessing,
            classes=table.names,
            details=SegmentDetails(
                values=table.values,
                colors=table.colors,
                elsewhere=LabelRules(options.elsewhere).elsewhere,
                weights=class_weights(options.class_weights, found.pixels),
            ),
        )

    def objective(self, run: TrainingRun) -> SegmentationObjective:
        return segmentation_objective(run)

    def scorer(
        self, checkpoint: Checkpoint[FITDense], runtime: Runtime, settings: EncodingSettings, whole: bool
    ) -> SegmentationScorer:
        return SegmentationScorer(checkpoint, runtime, settings)

    def report(
        self, checkpoint: Checkpoint[FITDense], runtime: Runtime, settings: EncodingSettings
    ) -> SegmentationReport:
        return SegmentationReport(checkpoint, runtime, settings)

    def model_of(self, preset: str, channels: int, outputs: int, changes: Mapping[str, Any]) -> DenseConfig:
        """Return the model of a preset with the usual cells."""
        return dense_preset(preset, channels, outputs, changes=changes)

    def sample_step(self, model: FITDense, groups: Groups, read: Callable[[slice], Tensor], plan: ExecutionPlan) -> Job:
        config, device = model.config, groups.number.device
        labels = torch.zeros(len(groups.number), config.tokens, config.patch**2, dtype=torch.uint8, device=device)
        losses = label_losses(config, lambda part: labels[part], CellLoss())
        return dense_job(model, groups, sample_patches(read), losses, float(labels.numel()))


def _class_line(found: LabelSurvey) -> str:
    """Return a line on the classes and their shares of the labelled pixels."""
    total = max(1, sum(found.pixels))
    named = [
        f"{value}={name} ({count / total:.1%})"
        for name, value, count in zip(found.table.names, found.table.values, found.pixels, strict=True)
    ]
    return f"classes (share of the labelled pixels): {named_classes(named)}"


def _rare_line(found: LabelSurvey) -> tuple[str, ...]:
    """Return a line on the classes that random windows hardly meet; nothing without any."""
    total = sum(found.pixels)
    rare = [name for name, count in zip(found.table.names, found.pixels, strict=True) if count < RARE * total]
    if not rare:
        return ()
    return (
        f"below {RARE:.0%} of the labelled pixels: {named_classes(rare)}; --rare-windows 0.3 draws 30% of "
        "the windows around pixels of all classes in turn",
    )


TASK = Segmentation()
