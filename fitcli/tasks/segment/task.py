"""The task `segment`: the class of every place of an image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, cast

import torch
from torch import Tensor

from fitcli.annotations.class_table import parse_classes
from fitcli.annotations.label_rules import LabelRules
from fitcli.annotations.label_survey import LabelSurvey, PositionsByImage, draw_positions, survey_labels
from fitcli.data.csv_listing import Labels
from fitcli.data.dataset import Dataset, Sample
from fitcli.data.survey import Survey
from fitcli.device.runtime import Runtime
from fitcli.errors import DataError
from fitcli.execution.job import Job
from fitcli.execution.plan import ExecutionPlan
from fitcli.images.read_as import ReadAs
from fitcli.memory.samples import SamplePass, StepInput
from fitcli.patches.sample_pixels import as_pixels
from fitcli.runs.config import RunConfig, TaskDetails
from fitcli.runs.option import OptionError
from fitcli.runs.train_settings import TrainSettings
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.context import TrainingRun
from fitcli.tasks.encoding.encode import EncodingSettings
from fitcli.tasks.segment.config import SegmentDetails
from fitcli.tasks.segment.loss import CellLoss, class_weights
from fitcli.tasks.segment.objective import SegmentationObjective, segmentation_objective
from fitcli.tasks.segment.options import SegmentOptions
from fitcli.tasks.segment.report import SegmentationReport
from fitcli.tasks.segment.sample_pass import SEGMENTING, TYPICAL_CLASSES
from fitcli.tasks.segment.scorer import SegmentationScorer
from fitcli.tasks.segment.step import segmentation_job
from fitcli.tasks.task import PresetModel, Task
from models.config import DenseConfig
from models.dense import FITDense
from models.groups import Groups
from models.presets import dense_preset

NAMED = 20
"""Number of classes to name."""

RARE = 0.01
"""Share of the labelled pixels below which a class is called rare."""

CHANNELS = 3
"""Assumption of `Task.preset`: colour images."""


class Segmentation(Task[FITDense]):
    """`--task segment`; see `Task` for its members."""

    name: ClassVar[str] = "segment"
    details: ClassVar[type[TaskDetails]] = SegmentDetails
    labels: ClassVar[Labels] = "files"
    used_by: ClassVar[str] = "`fit segment`"
    casts_weights_ahead: ClassVar[bool] = True
    scores_units: ClassVar[bool] = True
    class_weights: ClassVar[tuple[str, ...]] = ("head.",)

    def check(self, settings: TrainSettings) -> None:
        options = cast(SegmentOptions, settings.options)
        dense_preset(settings.preset, channels=1, outputs=2, cell=options.cell, changes=settings.model_changes)
        if options.classes is not None:
            parse_classes(options.classes)
        LabelRules(options.elsewhere)
        if options.rare_windows and settings.size is None:
            raise OptionError("rare_windows", "is a share of random windows; give their --size, or leave it out")

    def survey_targets(self, settings: TrainSettings, dataset: Dataset) -> Dataset:
        options = cast(SegmentOptions, settings.options)
        table = None if options.classes is None else parse_classes(options.classes)
        read_as = ReadAs(**settings.reading)
        pairs = [(sample.path, sample.target) for sample in (*dataset.train, *dataset.validation)]
        wanted = options.rare_windows > 0
        held_out = {sample.path for sample in dataset.validation}
        rules, most_bad = LabelRules(options.elsewhere), settings.max_bad_images
        found = survey_labels(pairs, table, rules, read_as, most_bad, wanted, held_out)
        hint = _rare_line(found) if settings.size is not None and not wanted else ()
        notes = (_class_line(found), *hint, *found.notes, *dataset.notes)
        surveyed, warnings = found._replace(positions={}), (*dataset.warnings, *found.warnings)
        return _anchored(replace(dataset, notes=notes, warnings=warnings, surveyed=surveyed), found.positions)

    def resume_targets(self, settings: TrainSettings, dataset: Dataset, config: RunConfig) -> Dataset:
        options, details = cast(SegmentOptions, settings.options), cast(SegmentDetails, config.details)
        if not options.rare_windows:
            return dataset
        pairs = [(sample.path, sample.target) for sample in dataset.train]
        table, rules = details.table(config.classes), LabelRules(details.elsewhere)
        how = config.preprocessing.read_as
        return _anchored(dataset, draw_positions(pairs, table, rules, how, settings.max_bad_images))

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

    def match(self, data: Path, dataset: Dataset, chosen: Sequence[Sample], config: RunConfig) -> list[Sample]:
        labelled = [sample for sample in chosen if sample.target is not None]
        if not labelled:
            raise DataError(f"{data}: no image has labels to compare with")
        return labelled

    def preset(self, name: str) -> PresetModel:
        config = dense_preset(name, CHANNELS, TYPICAL_CLASSES)
        return PresetModel(config, config.patch * config.group)

    def group_pixels(self, config: RunConfig) -> int:
        model = cast(DenseConfig, config.model)
        return model.patch * model.group

    def step_input(self, config: DenseConfig) -> StepInput:
        return SEGMENTING.step_input(config)

    def typical_config(self, config: DenseConfig) -> DenseConfig:
        return SEGMENTING.typical_config(config)

    def sample_step(self, model: FITDense, groups: Groups, read: Callable[[slice], Tensor], plan: ExecutionPlan) -> Job:
        config, device = model.config, groups.number.device
        labels = torch.zeros(len(groups.number), config.tokens, config.patch**2, dtype=torch.uint8, device=device)
        return segmentation_job(
            model,
            groups,
            lambda part, real: as_pixels(real.pack(read(part))),
            lambda part: labels[part],
            CellLoss(),
            float(labels.numel()),
        )

    @property
    def passes(self) -> SamplePass:
        return SEGMENTING


def _anchored(dataset: Dataset, positions: PositionsByImage) -> Dataset:
    """Return a data set whose training windows may be drawn around positions of the classes."""
    train = tuple(replace(sample, anchors=positions.get(sample.path, ())) for sample in dataset.train)
    return replace(dataset, train=train)


def _class_line(found: LabelSurvey) -> str:
    """Return a line on the classes and their shares of the labelled pixels."""
    total = max(1, sum(found.pixels))
    named = [
        f"{value}={name} ({count / total:.1%})"
        for name, value, count in zip(found.table.names, found.table.values, found.pixels, strict=True)
    ]
    more = f", and {len(named) - NAMED} more" if len(named) > NAMED else ""
    return f"classes (share of the labelled pixels): {', '.join(named[:NAMED])}{more}"


def _rare_line(found: LabelSurvey) -> tuple[str, ...]:
    """Return a line on the classes that random windows hardly meet; nothing without any."""
    total = sum(found.pixels)
    rare = [name for name, count in zip(found.table.names, found.pixels, strict=True) if count < RARE * total]
    if not rare:
        return ()
    more = f", and {len(rare) - NAMED} more" if len(rare) > NAMED else ""
    return (
        f"below {RARE:.0%} of the labelled pixels: {', '.join(rare[:NAMED])}{more}; --rare-windows 0.3 draws 30% of "
        "the windows around pixels of all classes in turn",
    )


TASK = Segmentation()
