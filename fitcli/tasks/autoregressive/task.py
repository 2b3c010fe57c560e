"""The task `autoregressive`: generates images value by value, each given all values before it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from fitcli.data.csv_listing import Labels
from fitcli.data.dataset import Dataset
from fitcli.data.place import too_small
from fitcli.data.survey import Survey
from fitcli.device.runtime import Runtime
from fitcli.errors import DataError
from fitcli.execution.job import Job
from fitcli.execution.plan import ExecutionPlan
from fitcli.files.wording import counted
from fitcli.memory.samples import SampleImage, SamplePass, StepInput
from fitcli.runs.config import RunConfig, TaskDetails
from fitcli.runs.train_settings import TrainSettings
from fitcli.runs.weights import Checkpoint
from fitcli.streaming.sweeps import Load, Streaming
from fitcli.tasks.autoregressive.objective import NextTokenObjective
from fitcli.tasks.autoregressive.options import AutoregressiveOptions
from fitcli.tasks.autoregressive.report import LikelihoodReport
from fitcli.tasks.autoregressive.scorer import LikelihoodScorer
from fitcli.tasks.autoregressive.sequences import SequenceConfig, sequence_of
from fitcli.tasks.autoregressive.step import decoding_job
from fitcli.tasks.autoregressive.stream import stream_decoder
from fitcli.tasks.context import TrainingRun
from fitcli.tasks.encoding.encode import EncodingSettings
from fitcli.tasks.image_output import check_writable_pixels
from fitcli.tasks.scoring_memory import ScoringLimit
from fitcli.tasks.task import PresetModel, Task
from models.config import DecoderConfig
from models.decoder import FITDecoder
from models.groups import Groups
from models.presets import decoder_preset

ALL_LEVELS = 256
"""Levels of 8-bit pixels."""

CHANNELS, CLASSES, STARTS = 3, 0, 1
"""Assumptions of `Task.preset`: colour images without classes, with a learned start."""

TYPICAL_CLASSES, MOST_TYPICAL_CLASSES = 10, 1000
"""Number of classes for which there is a table of memory, and up to how many classes a step takes about as much."""


class Autoregressive(Task[FITDecoder]):
    """`--task autoregressive`; see `Task` for its members."""

    name: ClassVar[str] = "autoregressive"
    details: ClassVar[type[TaskDetails]] = SequenceConfig
    # Without classes a model learns what all images have in common.
    labels: ClassVar[Labels] = "welcome"
    used_by: ClassVar[str] = "`fit generate`"
    profiled_preset: ClassVar[str] = "small"
    crops_to_groups: ClassVar[bool] = True

    def check(self, settings: TrainSettings) -> None:
        levels = cast(AutoregressiveOptions, settings.options).levels or ALL_LEVELS
        decoder_preset(settings.preset, 1, 0, levels, 0, settings.model_changes)

    def describe(self, settings: TrainSettings, dataset: Dataset, survey: Survey) -> RunConfig:
        options = cast(AutoregressiveOptions, settings.options)
        preprocessing, classes = survey.preprocessing, len(dataset.classes)
        path, smallest = survey.smallest
        check_writable_pixels(preprocessing, path)
        if preprocessing.dtype != "uint8" and options.levels is None:
            raise DataError(
                f"{path}: has {preprocessing.dtype} pixels, too many different values to predict; "
                f"give --levels {ALL_LEVELS} or fewer to train on that many shades of them"
            )
        levels = options.levels or ALL_LEVELS
        black, white = preprocessing.range
        assert black < white
        side = decoder_preset(settings.preset, 1, 0, levels, 0, settings.model_changes)[1]
        if min(*smallest, settings.size or min(smallest)) < side:
            size = min(smallest[0], settings.size or smallest[0]), min(smallest[1], settings.size or smallest[1])
            others = sum(min(each) < side for each in survey.sizes) - 1
            more = f" (and {counted(others, 'more image')} too small)" if others > 0 else ""
            raise DataError(f"{path}: {too_small(size, side)}{more}")
        sequence = SequenceConfig(
            patch=(side, side),
            size=survey.typical_size(settings.size),
            order=options.order,
            levels=levels,
            start=options.start,
        )
        starts = sequence.starts(classes)
        model, _ = decoder_preset(
            settings.preset, preprocessing.channels, classes, levels, starts, settings.model_changes
        )
        return RunConfig(model=model, preprocessing=preprocessing, classes=dataset.classes, details=sequence)

    def objective(self, run: TrainingRun) -> NextTokenObjective:
        return NextTokenObjective(run, sequence_of(run.config))

    def scorer(
        self, checkpoint: Checkpoint[FITDecoder], runtime: Runtime, settings: EncodingSettings, whole: bool
    ) -> LikelihoodScorer:
        return LikelihoodScorer(checkpoint, runtime, whole, ScoringLimit(self.passes, settings.memory_bytes))

    def report(
        self, checkpoint: Checkpoint[FITDecoder], runtime: Runtime, settings: EncodingSettings
    ) -> LikelihoodReport:
        return LikelihoodReport(checkpoint, runtime, settings)

    def preset(self, name: str) -> PresetModel:
        return PresetModel(*decoder_preset(name, CHANNELS, CLASSES, ALL_LEVELS, STARTS))

    def group_pixels(self, config: RunConfig) -> int:
        return sequence_of(config).patch[0]

    def step_input(self, config: DecoderConfig) -> StepInput:
        return StepInput((config.tokens,), torch.uint8, config.vocabulary)

    def typical_config(self, config: DecoderConfig) -> DecoderConfig:
        if not 0 < config.classes <= MOST_TYPICAL_CLASSES:
            return config
        starts = TYPICAL_CLASSES if config.starts == config.classes else config.starts
        return replace(config, classes=TYPICAL_CLASSES, starts=starts)

    def typical_configs(self, preset: str) -> list[DecoderConfig]:
        numbers = ((0, STARTS), (TYPICAL_CLASSES, TYPICAL_CLASSES))
        return [decoder_preset(preset, CHANNELS, classes, ALL_LEVELS, starts)[0] for classes, starts in numbers]

    def sample_step(
        self, model: FITDecoder, groups: Groups, read: Callable[[slice], Tensor], plan: ExecutionPlan
    ) -> Job:
        device = groups.number.device
        labels = torch.zeros(groups.images, dtype=torch.long, device=device) if model.config.classes else None
        return decoding_job(model, groups, lambda part: read(part).long(), lambda part: read(part).long(), labels)

    returns_reads: ClassVar[bool] = False

    @property
    def passes(self) -> SamplePass:
        return self

    def sample_pass(self, model: Any, image: SampleImage, how: Streaming | None) -> None:
        labels = torch.zeros(1, dtype=torch.long, device=image.device) if model.config.classes else None
        if how is None:
            model(image.inputs.to(image.device).long(), image.groups.to(image.device), labels)
            return
        ids: Load = lambda part: image.inputs[part].long()  # noqa: E731
        stream_decoder(model, image.groups, ids, lambda part, values: None, how, labels)


TASK = Autoregressive()
