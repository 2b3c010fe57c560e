"""The task `detect`: every object of an image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from fitcli.annotations.class_positions import Positions
from fitcli.annotations.objects.object_survey import ObjectSurvey, draw_object_positions, survey_objects
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
from fitcli.tasks.detect.cell_layout import CellLayout
from fitcli.tasks.detect.config import SIDES, DetectDetails
from fitcli.tasks.detect.loss import CellTruth, DetectionLoss
from fitcli.tasks.detect.objective import DetectionObjective, detection_objective
from fitcli.tasks.detect.options import DetectOptions
from fitcli.tasks.detect.report import DetectionReport
from fitcli.tasks.detect.sample_pass import DETECTING, TYPICAL_CLASSES
from fitcli.tasks.detect.scorer import DetectionScorer
from fitcli.tasks.detect.step import detection_job
from fitcli.tasks.encoding.encode import EncodingSettings
from fitcli.tasks.task import PresetModel, Task
from models.config import DenseConfig
from models.dense import FITDense
from models.groups import Groups
from models.presets import dense_preset

CELLS = 4
"""Cells per side of a patch: of 4 pixels for patches of 16."""

NAMED = 20
"""Number of classes to name."""

CHANNELS = 3
"""Assumption of `Task.preset`: colour images."""


class Detection(Task[FITDense]):
    """`--task detect`; see `Task` for its members."""

    name: ClassVar[str] = "detect"
    details: ClassVar[type[TaskDetails]] = DetectDetails
    labels: ClassVar[Labels] = "objects"
    used_by: ClassVar[str] = "`fit detect`"
    casts_weights_ahead: ClassVar[bool] = True
    class_weights: ClassVar[tuple[str, ...]] = ("head.",)

    def check(self, settings: TrainSettings) -> None:
        options = cast(DetectOptions, settings.options)
        _model(settings.preset, 1, 1 + SIDES, settings.model_changes)
        if options.rare_windows and settings.size is None:
            raise OptionError("rare_windows", "is a share of random windows; give their --size, or leave it out")

    def survey_targets(self, settings: TrainSettings, dataset: Dataset) -> Dataset:
        options = cast(DetectOptions, settings.options)
        read_as = ReadAs(level=settings.level, mpp=settings.mpp)
        pairs = [(sample.path, sample.target) for sample in (*dataset.train, *dataset.validation)]
        held_out = {sample.path for sample in dataset.validation}
        found = survey_objects(pairs, read_as, settings.max_bad_images, options.rare_windows > 0, held_out)
        notes = (_object_line(found), *found.notes, *dataset.notes)
        warnings, surveyed = (*dataset.warnings, *found.warnings), replace(found, positions={})
        return _anchored(replace(dataset, notes=notes, warnings=warnings, surveyed=surveyed), found.positions)

    def resume_targets(self, settings: TrainSettings, dataset: Dataset, config: RunConfig) -> Dataset:
        options, how = cast(DetectOptions, settings.options), config.preprocessing.read_as
        if not options.rare_windows:
            return dataset
        pairs = [(sample.path, sample.target) for sample in dataset.train]
        return _anchored(dataset, draw_object_positions(pairs, config.classes, how, settings.max_bad_images))

    def describe(self, settings: TrainSettings, dataset: Dataset, survey: Survey) -> RunConfig:
        options, found = cast(DetectOptions, settings.options), cast(ObjectSurvey, dataset.surveyed)
        if survey.preprocessing.features:
            raise DataError(f"{dataset.train[0].path}: holds features of patches; --task detect needs images of pixels")
        details = DetectDetails(side=round(found.side, 3))
        outputs = details.outputs(len(found.names))
        changes = survey.model_changes(settings.model_changes)
        return RunConfig(
            model=_model(settings.preset, survey.preprocessing.channels, outputs, changes),
            preprocessing=replace(survey.preprocessing, background=options.background),
            classes=found.names,
            details=details,
        )

    def objective(self, run: TrainingRun) -> DetectionObjective:
        return detection_objective(run)

    def scorer(
        self, checkpoint: Checkpoint[FITDense], runtime: Runtime, settings: EncodingSettings, whole: bool
    ) -> DetectionScorer:
        return DetectionScorer(checkpoint, runtime, settings)

    def report(self, checkpoint: Checkpoint[FITDense], runtime: Runtime, settings: EncodingSettings) -> DetectionReport:
        return DetectionReport(checkpoint, runtime, settings)

    def match(self, data: Path, dataset: Dataset, chosen: Sequence[Sample], config: RunConfig) -> list[Sample]:
        annotated = [sample for sample in chosen if sample.target is not None]
        if not annotated:
            raise DataError(f"{data}: no image has objects to compare with")
        return annotated

    def preset(self, name: str) -> PresetModel:
        config = _model(name, CHANNELS, TYPICAL_CLASSES + SIDES, {})
        return PresetModel(config, config.patch * config.group)

    def group_pixels(self, config: RunConfig) -> int:
        model = cast(DenseConfig, config.model)
        return model.patch * model.group

    def step_input(self, config: DenseConfig) -> StepInput:
        return DETECTING.step_input(config)

    def typical_config(self, config: DenseConfig) -> DenseConfig:
        return DETECTING.typical_config(config)

    def typical_configs(self, preset: str) -> list[DenseConfig]:
        """Return none: their tables are made when they are first asked for, in seconds."""
        return []

    def sample_step(self, model: FITDense, groups: Groups, read: Callable[[slice], Tensor], plan: ExecutionPlan) -> Job:
        config, device = model.config, groups.number.device
        layout = CellLayout.of(config)
        counted = torch.ones(len(groups.number), layout.count, dtype=torch.bool, device=device)
        classes = max(1, config.outputs - SIDES)

        def truth(part: slice) -> CellTruth:
            # As if every cell learned a box.
            own = counted[part]
            keys = torch.arange(own.numel(), device=device)
            ones = torch.ones(own.numel(), device=device)
            return CellTruth(own, keys * classes, ones, keys, ones[:, None].expand(-1, SIDES), ones)

        return detection_job(
            model,
            groups,
            lambda part, real: as_pixels(real.pack(read(part))),
            truth,
            DetectionLoss(classes, 1.0 if config.outputs > SIDES else 0.0),
            float(counted.numel()),
        )

    @property
    def passes(self) -> SamplePass:
        return DETECTING


def _model(preset: str, channels: int, outputs: int, changes: Mapping[str, Any]) -> DenseConfig:
    """Return the model of a preset with `CELLS` cells per side of a patch, or fewer if the patch is small."""
    side = dense_preset(preset, channels, outputs, 1, changes).patch
    cell = next(cell for cell in range(max(1, side // CELLS), side + 1) if side % cell == 0)
    return dense_preset(preset, channels, outputs, cell, changes)


def _anchored(dataset: Dataset, positions: dict[Path, tuple[Positions, ...]]) -> Dataset:
    """Return a data set whose training windows may be drawn around objects."""
    train = tuple(replace(sample, anchors=positions.get(sample.path, ())) for sample in dataset.train)
    return replace(dataset, train=train)


def _object_line(found: ObjectSurvey) -> str:
    """Return a line on the classes and their numbers of objects."""
    named = [f"{name} ({count:,})" for name, count in zip(found.names, found.counts, strict=True)]
    more = f", and {len(named) - NAMED} more" if len(named) > NAMED else ""
    kind = "points" if found.are_points else f"boxes of typically {found.side:.3g} pixels"
    return f"objects: {', '.join(named[:NAMED])}{more}; {kind}"


TASK = Detection()
