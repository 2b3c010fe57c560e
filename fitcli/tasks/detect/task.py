"""The task `detect`: every object of an image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from fitcli.annotations.objects.object_survey import ObjectSurvey, draw_object_positions, survey_objects
from fitcli.data.csv_listing import Labels
from fitcli.data.dataset import Dataset
from fitcli.data.survey import Survey
from fitcli.device.runtime import Runtime
from fitcli.errors import DataError
from fitcli.execution.job import Job
from fitcli.execution.plan import ExecutionPlan
from fitcli.files.wording import counted
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
from fitcli.tasks.detect.cell_layout import CellLayout
from fitcli.tasks.detect.config import SIDES, DetectDetails
from fitcli.tasks.detect.loss import CellTruth, DetectionLoss
from fitcli.tasks.detect.objective import DetectionObjective, detection_objective
from fitcli.tasks.detect.options import DetectOptions
from fitcli.tasks.detect.report import DetectionReport
from fitcli.tasks.detect.sample_pass import DETECTING
from fitcli.tasks.detect.scorer import DetectionScorer
from fitcli.tasks.detect.step import object_losses
from fitcli.tasks.encoding.encode import EncodingSettings
from models.config import DenseConfig
from models.dense import FITDense
from models.groups import Groups
from models.presets import dense_preset

CELLS = 4
"""Cells per side of a patch: of 4 pixels for patches of 16."""

SHARING = 0.01
"""Share of objects at the place of one of another class up to which a place has one object: annotations have slips."""


class Detection(DenseTask):
    """`--task detect`; see `DenseTask` for its members."""

    name: ClassVar[str] = "detect"
    details: ClassVar[type[TaskDetails]] = DetectDetails
    labels: ClassVar[Labels] = "objects"
    used_by: ClassVar[str] = "`fit detect`"
    sample: ClassVar[DenseSample] = DETECTING
    answers: ClassVar[str] = "objects"

    def check(self, settings: TrainSettings) -> None:
        options = cast(DetectOptions, settings.options)
        self.model_of(settings.preset, 1, 1 + SIDES, settings.model_changes)
        check_rare_windows(settings, options.rare_windows)

    def survey_targets(self, settings: TrainSettings, dataset: Dataset) -> Dataset:
        options = cast(DetectOptions, settings.options)
        read_as = ReadAs(**settings.reading)
        pairs, held_out = answers_of(dataset)
        cell = self.model_of(settings.preset, 1, 1 + SIDES, settings.model_changes).cell
        found = survey_objects(pairs, read_as, settings.max_bad_images, options.rare_windows > 0, held_out, cell)
        return with_survey(dataset, replace(found, positions={}), [_object_line(found)], found)

    def resume_targets(self, settings: TrainSettings, dataset: Dataset, config: RunConfig) -> Dataset:
        options, how = cast(DetectOptions, settings.options), config.preprocessing.read_as
        if not options.rare_windows:
            return dataset
        pairs = [(sample.path, sample.target) for sample in dataset.train]
        return anchored(dataset, draw_object_positions(pairs, config.classes, how, settings.max_bad_images))

    def describe(self, settings: TrainSettings, dataset: Dataset, survey: Survey) -> RunConfig:
        options, found = cast(DetectOptions, settings.options), cast(ObjectSurvey, dataset.surveyed)
        if survey.preprocessing.features:
            raise DataError(
                f"{dataset.train[0].path}: holds features of patches, which do not tell where in one an object lies; "
                f"--task {self.name} needs images of pixels"
            )
        details = DetectDetails(side=round(found.side, 3), one_per_place=_are_apart(found))
        outputs = details.outputs(len(found.names))
        changes = survey.model_changes(settings.model_changes)
        return RunConfig(
            model=self.model_of(settings.preset, survey.preprocessing.channels, outputs, changes),
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

    def model_of(self, preset: str, channels: int, outputs: int, changes: Mapping[str, Any]) -> DenseConfig:
        """Return the model of a preset with `CELLS` cells per side of a patch, or fewer if the patch is small."""
        side = dense_preset(preset, channels, outputs, 1, changes).patch
        cell = next(cell for cell in range(max(1, side // CELLS), side + 1) if side % cell == 0)
        return dense_preset(preset, channels, outputs, cell, changes)

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

        losses = object_losses(truth, DetectionLoss(classes, 1.0 if config.outputs > SIDES else 0.0))
        return dense_job(model, groups, sample_patches(read), losses, float(counted.numel()))


def _object_line(found: ObjectSurvey) -> str:
    """Return a line on the classes and their numbers of objects."""
    named = [f"{name} ({count:,})" for name, count in zip(found.names, found.counts, strict=True)]
    kind = "points" if found.are_points else f"boxes of typically {found.side:.3g} pixels"
    return f"objects: {named_classes(named)}; {kind}{_sharing(found)}"


def _are_apart(found: ObjectSurvey) -> bool:
    """Return whether objects of different classes hardly ever share a place."""
    return found.sharing <= SHARING * sum(found.counts)


def _sharing(found: ObjectSurvey) -> str:
    """Return the end of a line: whether a place has objects of several classes; nothing for a single class."""
    if len(found.names) < 2:
        return ""
    if _are_apart(found):
        return "; one class per place"
    shared = counted(found.sharing, "object lies", "objects lie")
    return f"; several classes per place ({shared} where one of another class does)"


TASK = Detection()
