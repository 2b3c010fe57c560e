"""The task `diffusion`: generates images from noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar, cast

from torch import Tensor

from fitcli.data.csv_listing import Labels
from fitcli.data.dataset import Dataset
from fitcli.data.survey import Survey
from fitcli.device.runtime import Runtime
from fitcli.errors import FitError
from fitcli.execution.job import Job
from fitcli.execution.plan import ExecutionPlan
from fitcli.memory.samples import SamplePass, StepInput
from fitcli.runs.config import RunConfig, TaskDetails
from fitcli.runs.option import without_values
from fitcli.runs.train_settings import TrainSettings
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.context import TrainingRun
from fitcli.tasks.diffusion.config import DiffusionConfig, Enlarging, diffusion_of, shift_for
from fitcli.tasks.diffusion.deviation import measure_deviation
from fitcli.tasks.diffusion.loss import diffusion_loss
from fitcli.tasks.diffusion.objective import DenoisingObjective
from fitcli.tasks.diffusion.options import ENLARGE_NOISE, DiffusionOptions
from fitcli.tasks.diffusion.report import DenoisingReport
from fitcli.tasks.diffusion.sample import DENOISING, TYPICAL_CLASSES
from fitcli.tasks.diffusion.schedules import parse_schedule
from fitcli.tasks.diffusion.scorer import DenoisingScorer
from fitcli.tasks.encoding.encode import EncodingSettings
from fitcli.tasks.image_output import check_writable_pixels
from fitcli.tasks.scoring_memory import ScoringLimit
from fitcli.tasks.task import PresetModel, Task
from models.checks import ConfigError
from models.config import DenoiserConfig
from models.denoiser import FITDenoiser
from models.groups import Groups
from models.presets import denoiser_preset

CHANNELS, CLASSES = 3, 0
"""Assumptions of `Task.preset`: colour images without classes."""


class Diffusion(Task[FITDenoiser]):
    """`--task diffusion`; see `Task` for its members."""

    name: ClassVar[str] = "diffusion"
    details: ClassVar[type[TaskDetails]] = DiffusionConfig
    # Without classes a model learns what all images have in common.
    labels: ClassVar[Labels] = "welcome"
    used_by: ClassVar[str] = "`fit generate`"

    def check(self, settings: TrainSettings) -> None:
        options = cast(DiffusionOptions, settings.options)
        model, patch = denoiser_preset(settings.preset, channels=1, classes=0, changes=settings.model_changes)
        _check_factor(options, patch * model.group, settings)
        _check(f"--schedule {options.schedule}", lambda: parse_schedule(options.schedule), options.schedule)
        given = f"--scale {options.scale}" + ("" if options.shift is None else f" --shift {options.shift}")
        _check(given, lambda: _diffusion_config(options, patch=1, size=(1, 1)))

    def describe(self, settings: TrainSettings, dataset: Dataset, survey: Survey) -> RunConfig:
        options = cast(DiffusionOptions, settings.options)
        check_writable_pixels(survey.preprocessing, survey.smallest[0])
        _ = survey.preprocessing.range
        model, patch = denoiser_preset(
            settings.preset,
            survey.preprocessing.channels,
            len(dataset.classes),
            settings.model_changes,
            self_condition=options.self_condition_rate > 0,
        )
        enlarging = None
        if options.enlarge is not None:
            # The network sees the smaller version beside the noisy patches, and one feature: the noise on it.
            model = replace(model, values=2 * model.values, time_features=1)
            deviation = measure_deviation(dataset, survey.preprocessing, options.enlarge)
            enlarging = Enlarging(factor=options.enlarge, noise=options.enlarge_noise, deviation=deviation)
        return RunConfig(
            model=model,
            preprocessing=survey.preprocessing,
            classes=dataset.classes,
            details=_diffusion_config(options, patch, survey.typical_size(settings.size), enlarging),
        )

    def objective(self, run: TrainingRun) -> DenoisingObjective:
        config = diffusion_of(run.config)
        return DenoisingObjective(run, config, diffusion_loss(config))

    def scorer(
        self, checkpoint: Checkpoint[FITDenoiser], runtime: Runtime, settings: EncodingSettings, whole: bool
    ) -> DenoisingScorer:
        return DenoisingScorer(checkpoint, runtime, whole, ScoringLimit(self.passes, settings.memory_bytes))

    def report(
        self, checkpoint: Checkpoint[FITDenoiser], runtime: Runtime, settings: EncodingSettings
    ) -> DenoisingReport:
        return DenoisingReport(checkpoint, runtime, settings)

    def preset(self, name: str) -> PresetModel:
        config, patch = denoiser_preset(name, CHANNELS, CLASSES)
        return PresetModel(config, patch * config.group)

    def group_pixels(self, config: RunConfig) -> int:
        return diffusion_of(config).patch * cast(DenoiserConfig, config.model).group

    def step_input(self, config: DenoiserConfig) -> StepInput:
        return DENOISING.step_input(config)

    def typical_config(self, config: DenoiserConfig) -> DenoiserConfig:
        return DENOISING.typical_config(config)

    def typical_configs(self, preset: str) -> list[DenoiserConfig]:
        return [denoiser_preset(preset, CHANNELS, classes)[0] for classes in (0, TYPICAL_CLASSES)]

    def sample_step(
        self, model: FITDenoiser, groups: Groups, read: Callable[[slice], Tensor], plan: ExecutionPlan
    ) -> Job:
        return DENOISING.sample_step(model, groups, read, plan)

    @property
    def passes(self) -> SamplePass:
        return DENOISING


def _check(options: str, parse: Callable[[], object], *values: object) -> None:
    """Turn a ConfigError of `parse` into a FitError that names the options, with their values."""
    try:
        parse()
    except ConfigError as error:
        raise FitError(f"{options}: {without_values(str(error), values)}") from None


def _check_factor(options: DiffusionOptions, side: int, settings: TrainSettings) -> None:
    """Refuse a factor with which pixels of the smaller version would lie across the borders of groups or windows."""
    factor = options.enlarge
    if factor is None:
        if options.enlarge_noise != ENLARGE_NOISE:
            raise FitError("--enlarge-noise is for --enlarge; give both, or leave it out")
        return
    for name, pixels in (("--size", settings.size), ("the side of a group,", side)):
        if pixels is not None and pixels % factor:
            raise FitError(f"--enlarge {factor}: does not divide {name} {pixels} pixels; give a factor that does")


def _diffusion_config(
    options: DiffusionOptions, patch: int, size: tuple[int, int], enlarging: Enlarging | None = None
) -> DiffusionConfig:
    # What takes much noise to hide, the content of a large image, is in the smaller version.
    shift = shift_for(size) if enlarging is None else 0.0
    return DiffusionConfig(
        patch=patch,
        size=size,
        schedule=options.schedule,
        prediction=options.prediction,
        scale=options.scale,
        shift=shift if options.shift is None else options.shift,
        self_condition_rate=options.self_condition_rate,
        class_dropout=options.class_dropout,
        enlarging=enlarging,
    )


TASK = Diffusion()
