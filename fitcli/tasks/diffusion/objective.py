"""What the training of a diffusion model minimises: the squared error of the predictions of the network."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from fitcli.data.batch import Batch
from fitcli.data.dataset import spread
from fitcli.data.place import Layout
from fitcli.data.read_item import Reading
from fitcli.device.transfer import to_device
from fitcli.execution.forward import group_losses
from fitcli.execution.job import Job, Outcome
from fitcli.execution.plan import ExecutionPlan
from fitcli.noise import generator, group_noise
from fitcli.patches.cutting import to_unit
from fitcli.runs.weights import Checkpoint, TaskModel
from fitcli.tasks.class_targets import ClassLabelReader, ClassLabels
from fitcli.tasks.context import TrainingRun, place_rules
from fitcli.tasks.diffusion.config import DiffusionConfig
from fitcli.tasks.diffusion.loss import DiffusionObjective
from fitcli.tasks.diffusion.options import DiffusionOptions
from fitcli.tasks.diffusion.parameterization import to_data
from fitcli.tasks.diffusion.schedules import parse_schedule, shifted
from fitcli.tasks.diffusion.step import DiffusionStep, diffusion_job
from fitcli.tasks.task import DeferredScores, Validation
from fitcli.tasks.validation import shared_sums, validation_loader
from models.config import DenoiserConfig
from models.denoiser import FITDenoiser

BUCKETS = 4
"""Equal parts of time in which the validation loss is told: some noise is easy and some is hard."""

VALIDATED = 256
"""Validation images that are looked at, evenly spread over all: each is denoised once per bucket."""


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
    def reading(self) -> Reading:
        """How the images of the run are read: padded to whole groups; whole images keep their origin."""
        model, options = cast(DenoiserConfig, self.run.config.model), cast(DiffusionOptions, self.run.settings.options)
        return Reading(
            layout=Layout(patch=self.config.patch, group=model.group, any_origin=False),
            rules=place_rules(self.run.settings, background=options.background),
            preprocessing=self.run.config.preprocessing,
            targets=ClassLabelReader(),
        )

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
        loader = validation_loader(run, images, self.reading)

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
        return Validation(loss=loss, scores=scores, rank=(-loss,), headline=("loss", f"{loss:.4f}"))

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
            target = batch.on_host.target
            assert isinstance(target, ClassLabels)
            known = F.one_hot(target.numbers, classes).float() * labelled.float()[:, None]
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
