"""Images out of noise."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from fitcli.data.batch import Batch
from fitcli.data.csv_listing import Labels
from fitcli.data.dataset import Dataset, spread
from fitcli.data.read_item import Layout
from fitcli.data.survey import Survey
from fitcli.device.transfer import to_device
from fitcli.errors import FitError
from fitcli.execution.forward import group_losses
from fitcli.execution.job import Job, Outcome
from fitcli.execution.plan import ExecutionPlan
from fitcli.noise import generator, group_noise
from fitcli.patches.cutting import to_unit
from fitcli.runs.config import RunConfig
from fitcli.runs.train_settings import TrainSettings
from fitcli.runs.weights import Checkpoint, TaskModel
from fitcli.tasks.context import TrainingRun
from fitcli.tasks.diffusion.config import DiffusionConfig, shift_for
from fitcli.tasks.diffusion.loss import DiffusionObjective
from fitcli.tasks.diffusion.parameterization import to_data
from fitcli.tasks.diffusion.schedules import parse_schedule, shifted
from fitcli.tasks.diffusion.step import DiffusionStep, diffusion_job
from fitcli.tasks.task import DeferredScores, Objective, Validation
from fitcli.tasks.validation import shared_sums, validation_loader
from models.checks import ConfigError
from models.config import DenoiserConfig
from models.denoiser import FITDenoiser
from models.presets import denoiser_preset

BUCKETS = 4
"""Equal parts of time in which the validation loss is told: some noise is easy and some is hard."""

VALIDATED = 256
"""Validation images that are looked at, evenly spread over all: each is denoised once per bucket."""


class Diffusion:
    """`--task diffusion`."""

    @property
    def labels(self) -> Labels:
        """Without classes it learns what all images have in common."""
        return "welcome"

    def check(self, settings: TrainSettings) -> None:
        """See `Task.check`."""
        denoiser_preset(settings.preset, channels=1, classes=0, patch=settings.patch)
        _check(f"--schedule {settings.schedule}", lambda: parse_schedule(settings.schedule))
        asked = f"--scale {settings.scale}" + ("" if settings.shift is None else f" --shift {settings.shift}")
        _check(asked, lambda: _diffusion_config(settings, patch=1, size=(1, 1)))

    def describe(self, settings: TrainSettings, dataset: Dataset, survey: Survey) -> RunConfig:
        """See `Task.describe`."""
        _ = survey.preprocessing.range
        model, patch = denoiser_preset(
            settings.preset,
            survey.preprocessing.channels,
            len(dataset.classes),
            settings.patch,
            self_condition=settings.self_condition_rate > 0,
        )
        return RunConfig(
            task="diffusion",
            model=model,
            preprocessing=survey.preprocessing,
            classes=dataset.classes,
            diffusion=_diffusion_config(settings, patch, survey.typical_size(settings.size)),
        )

    def objective(self, run: TrainingRun) -> Objective:
        """See `Task.objective`."""
        assert run.config.diffusion is not None
        return DenoisingObjective(run, run.config.diffusion, diffusion_loss(run.config.diffusion))


def _check(asked: str, parse: Callable[[], object]) -> None:
    """Raise FitError, which begins with the options that were asked for, where these give nothing."""
    try:
        parse()
    except ConfigError as error:
        raise FitError(f"{asked}: {error}") from None


def _diffusion_config(settings: TrainSettings, patch: int, size: tuple[int, int]) -> DiffusionConfig:
    return DiffusionConfig(
        patch=patch,
        size=size,
        schedule=settings.schedule,
        prediction=settings.prediction,
        scale=settings.scale,
        shift=shift_for(size) if settings.shift is None else settings.shift,
        self_condition_rate=settings.self_condition_rate,
        class_dropout=settings.class_dropout,
    )


def diffusion_loss(config: DiffusionConfig) -> DiffusionObjective:
    """What the network predicts is compared as it is: clipped data would have no gradient."""
    return DiffusionObjective(
        schedule=shifted(parse_schedule(config.schedule), config.shift),
        prediction=config.prediction,
        loss=config.prediction,
        clip=None,
        scale=config.scale,
        self_condition_rate=config.self_condition_rate,
        by_masking=True,
    )


@dataclass(frozen=True, slots=True)
class DenoisingObjective:
    """Mean squared error of what the network predicts.

    All that is random about an image in a step follows from the seed of the run, the epoch, the number of the image and
    the number of the group alone: a slice of the groups that is computed again sees the same noise.

    Attributes:
        run: What it is for.
        config: Of the diffusion.
        loss: What is minimised.
    """

    run: TrainingRun
    config: DiffusionConfig
    loss: DiffusionObjective

    @property
    def layout(self) -> Layout:
        """Padded to whole groups; whole images stay where they are."""
        model = cast(DenoiserConfig, self.run.config.model)
        return Layout(patch=self.config.patch, group=model.group, any_origin=False)

    def job(self, model: TaskModel, batch: Batch, plan: ExecutionPlan | None = None) -> Job:
        """See `Objective.job`."""
        draws = torch.tensor([self._draws("training image", showing) for showing in batch.showings])  # [b 3]
        time, coin, label_coin = draws.unbind(-1)
        kept = label_coin >= self.config.class_dropout
        return self._job(model, batch, "training noise", time, coin, kept, plan)

    def weight(self, batch: Batch) -> float:
        """See `Objective.weight`."""
        return float(batch.groups.count_real_tokens(batch.patches.shape[1]))

    def scores(self, batch: Batch, outcome: Outcome) -> DeferredScores | None:
        """The loss says it all."""
        return None

    def validate(self, checkpoint: Checkpoint[TaskModel]) -> Validation:
        """The loss in equal parts of time, each image with the same noise every time."""
        run = self.run
        images = spread(run.dataset.validation, VALIDATED)
        loader = validation_loader(run, images, self.layout)

        def look() -> dict[str, float]:
            sums = dict.fromkeys([*map(str, range(BUCKETS)), "patches"], 0.0)
            with closing(loader.fixed()) as batches:
                for batch in batches:
                    for bucket, loss in enumerate(self._losses(checkpoint.model, batch)):
                        sums[str(bucket)] += loss * batch.real_patches()
                    sums["patches"] += batch.real_patches()
            return sums

        found = shared_sums(run, look)
        losses = [found[str(bucket)] / found["patches"] for bucket in range(BUCKETS)]
        loss = sum(losses) / BUCKETS
        scores = {f"loss_time_{k / BUCKETS:.2f}_{(k + 1) / BUCKETS:.2f}": losses[k] for k in range(BUCKETS)}
        return Validation(loss=loss, scores=scores, rank=(-loss,), said=("loss", f"{loss:.4f}"))

    def _losses(self, model: TaskModel, batch: Batch) -> list[float]:
        """Of a validation batch in each part of time, the mean over its patches."""
        run, moved = self.run, self.run.bring(batch)
        draws = torch.tensor([self._draws("validation image", showing) for showing in batch.showings])
        labels = torch.ones(len(draws), dtype=torch.bool)
        losses = []
        for bucket in range(BUCKETS):
            time = (bucket + draws[:, 0]) / BUCKETS
            with run.runtime.autocast():
                job = self._job(model, moved, f"validation noise {bucket}", time, draws[:, 1], labels)
                losses.append(float(group_losses(job, run.plan).sum()))
        return losses

    def _draws(self, stream: str, showing: tuple[int, int]) -> list[float]:
        """Three uniform numbers of an image: for its time, its self-conditioning and its label."""
        epoch, image = showing
        return [float(draw) for draw in generator(self.run.settings.seed, stream, image, step=epoch).random(3)]

    def _job(
        self,
        model: TaskModel,
        batch: Batch,
        stream: str,
        time: Tensor,
        coin: Tensor,
        labelled: Tensor,
        plan: ExecutionPlan | None = None,
    ) -> Job:
        """The job of a batch. `time`, `coin` and `labelled` are [b] on the CPU."""
        device = self.run.runtime.device
        preprocessing, classes = self.run.config.preprocessing, len(self.run.config.classes)
        addresses = _addresses(batch.on_host)
        values = batch.patches.shape[1:]

        def data(part: slice) -> Tensor:
            return to_data(to_unit(batch.part(part), *preprocessing.range), self.config.scale)

        def noise(part: slice) -> Tensor:
            return to_device(addresses.noise(self.run.settings.seed, stream, part, (values[0], values[1])), device)

        condition = None
        if classes:
            known = F.one_hot(batch.on_host.labels, classes).float() * labelled.float()[:, None]
            condition = to_device(known[:, None], device)
        step = DiffusionStep(
            groups=batch.groups,
            data=data,
            noise=noise,
            time=to_device(time.float(), device),
            condition=condition,
            conditioned=coin < self.config.self_condition_rate,
        )
        return diffusion_job(self.loss, cast(FITDenoiser, model), step, plan or self.run.plan)


@dataclass(frozen=True, slots=True)
class _Addresses:
    """Of the noise of all groups of a batch: showing of the image and number of the group, in their order."""

    showings: list[tuple[int, int]]
    numbers: list[int]

    def noise(self, seed: int, stream: str, part: slice, shape: tuple[int, int]) -> Tensor:
        """[part n p] float32 on the CPU."""
        each = [
            group_noise(seed, stream, [number], shape, image=image, step=epoch)
            for (epoch, image), number in zip(self.showings[part], self.numbers[part], strict=True)
        ]
        return torch.cat(each) if each else torch.empty(0, *shape)


def _addresses(batch: Batch) -> _Addresses:
    showings = [
        showing for showing, count in zip(batch.showings, batch.groups.counts(), strict=True) for _ in range(count)
    ]
    return _Addresses(showings, batch.groups.number.tolist())
