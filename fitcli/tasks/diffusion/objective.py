"""The training objective of a diffusion model: the squared error of the predictions of the network."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from fitcli.data.batch import Batch
from fitcli.data.dataset import spread
from fitcli.data.place import Layout
from fitcli.data.read_item import Reading
from fitcli.device.transfer import to_device
from fitcli.execution.forward import group_losses
from fitcli.execution.job import Job, Outcome, Part
from fitcli.execution.plan import ExecutionPlan
from fitcli.noise import Address, draw_noise, generator
from fitcli.patches.cutting import to_unit
from fitcli.runs.weights import Checkpoint, TaskModel
from fitcli.tasks.class_targets import ClassLabelReader, ClassLabels
from fitcli.tasks.context import TrainingRun, place_rules
from fitcli.tasks.diffusion.config import DiffusionConfig
from fitcli.tasks.diffusion.loss import DiffusionLoss
from fitcli.tasks.diffusion.options import DiffusionOptions
from fitcli.tasks.diffusion.parameterization import to_data
from fitcli.tasks.diffusion.smaller_image import enlarged_part
from fitcli.tasks.diffusion.smaller_targets import SmallerImageReader, SmallerImages
from fitcli.tasks.diffusion.step import DiffusionStep, diffusion_job
from fitcli.tasks.task import DeferredScores, Validation
from fitcli.tasks.validation import shared_sums, validation_loader, with_less_memory
from models.config import DenoiserConfig
from models.denoiser import FITDenoiser

BUCKETS = 4
"""Number of equal parts of time with a validation loss of their own: the loss depends much on the noise level."""

VALIDATED = 256
"""Largest number of validation images, evenly spread over all. Each is denoised once per bucket."""


@dataclass(frozen=True, slots=True)
class DenoisingObjective:
    """Mean squared error of the predictions of the network; see `Objective` for its members.

    The random numbers of an image depend only on the seed of the run, the epoch, the number of the image and the number
    of the group. So groups that are computed again see the same noise.

    Attributes:
        run: The run that is trained.
        config: The diffusion of the model.
        loss: The loss.
    """

    run: TrainingRun
    config: DiffusionConfig
    loss: DiffusionLoss

    counts_own_groups: ClassVar[bool] = False

    @property
    def reading(self) -> Reading:
        """How the images of the run are read: padded to whole groups; whole images keep their origin."""
        model, options = cast(DenoiserConfig, self.run.config.model), cast(DiffusionOptions, self.run.settings.options)
        return Reading(
            layout=Layout(patch=self.config.patch, group=model.group, any_origin=False),
            rules=place_rules(self.run, background=options.background),
            preprocessing=self.run.config.preprocessing,
            targets=self._targets(),
        )

    def _targets(self) -> ClassLabelReader | SmallerImageReader:
        enlarging, run = self.config.enlarging, self.run
        if enlarging is None:
            return ClassLabelReader()
        return SmallerImageReader(self.config, enlarging, run.config.preprocessing, run.settings.seed)

    def job(self, model: TaskModel, batch: Batch, plan: ExecutionPlan | None = None) -> Job:
        """Return the step of the mean loss over the patches of a batch."""
        draws = torch.tensor([self._draws("training image", showing) for showing in batch.showings])  # [b 3]
        time, coin, label_coin = draws.unbind(-1)
        kept = label_coin >= self.config.class_dropout
        options = cast(DiffusionOptions, self.run.settings.options)
        loss = replace(self.loss, weighting=options.loss_weighting)
        return self._job(model, batch, "training noise", time, coin, kept, plan, loss)

    def weight(self, batch: Batch) -> float:
        """Return the number of patches of a batch, without padding."""
        return float(batch.groups.count_real_tokens(batch.patches.shape[1]))

    def scores(self, batch: Batch, outcome: Outcome) -> DeferredScores | None:
        """Return None: the loss is the only score."""
        return None

    def validate(self, checkpoint: Checkpoint[TaskModel]) -> Validation:
        """Compute the loss in equal parts of time. Every validation uses the same noise."""
        run = self.run
        images = spread(run.dataset.validation, VALIDATED)
        loader = validation_loader(run, images, replace(self.reading, marked=True))

        def own_sums() -> dict[str, float]:
            sums = dict.fromkeys([*map(str, range(BUCKETS)), "patches"], 0.0)
            with closing(loader.fixed()) as batches:
                for batch in batches:
                    for bucket, loss in enumerate(self._losses(checkpoint.model, batch)):
                        sums[str(bucket)] += loss * batch.real_patches()
                    sums["patches"] += batch.real_patches()
            return sums

        sums = shared_sums(run, own_sums)
        losses = [sums[str(bucket)] / sums["patches"] for bucket in range(BUCKETS)]
        loss = sum(losses) / BUCKETS
        scores = {f"loss_time_{k / BUCKETS:.2f}_{(k + 1) / BUCKETS:.2f}": losses[k] for k in range(BUCKETS)}
        return Validation(loss=loss, scores=scores, rank=(-loss,), headline=("loss", f"{loss:.4f}"))

    def _losses(self, model: TaskModel, batch: Batch) -> list[float]:
        """Return the mean loss over the pixels of a validation batch, without missing ones, in each part of time."""
        run, on_device = self.run, self.run.bring(batch)
        draws = torch.tensor([self._draws("validation image", showing) for showing in batch.showings])
        labels = torch.ones(len(draws), dtype=torch.bool)
        losses = []
        for bucket in range(BUCKETS):
            time = (bucket + draws[:, 0]) / BUCKETS
            job = partial(self._job, model, on_device, f"validation noise {bucket}", time, draws[:, 1], labels)

            def loss(plan: ExecutionPlan, job: Callable[[ExecutionPlan], Job] = job) -> float:
                with run.runtime.autocast():
                    return float(group_losses(job(plan), plan).sum())

            losses.append(with_less_memory(run, len(on_device.groups.number), loss))
        return losses

    def _draws(self, stream: str, showing: tuple[int, int]) -> list[float]:
        """Return three uniform random numbers of an image: for its time, its self-conditioning and its label."""
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
        loss: DiffusionLoss | None = None,
    ) -> Job:
        """Return the step of a batch.

        Args:
            model: The denoiser.
            batch: The batch.
            stream: Stream of the noise.
            time: Time of each image, [b], on the CPU.
            coin: Uniform random number of each image, [b], on the CPU, for self-conditioning.
            labelled: Whether the model is given the class of each image, [b] bool, on the CPU.
            plan: Execution of the step; None for that of the run.
            loss: The loss; None for the one without weights.
        """
        device = self.run.runtime.device
        preprocessing, classes = self.run.config.preprocessing, len(self.run.config.classes)
        addresses = _addresses(batch.on_host)
        values = batch.patches.shape[1:]

        target, enlarging, features = batch.on_host.target, self.config.enlarging, None
        given: Part | None = None
        if isinstance(target, SmallerImages):
            assert enlarging is not None
            features = to_device(target.levels[:, None], device)
            given = partial(enlarged_part, target.windows, enlarging.factor, self.config.patch, device)
            target = target.labels

        def data(part: slice) -> Tensor:
            pixels = to_data(to_unit(batch.part(part), *preprocessing.range), self.config.scale)
            return pixels if given is None or enlarging is None else (pixels - given(part)) / enlarging.unit

        def noise(part: slice) -> Tensor:
            drawn = draw_noise(self.run.settings.seed, stream, addresses[part], (values[0], values[1]))
            return to_device(drawn, device)

        condition = None
        if classes:
            assert isinstance(target, ClassLabels)
            one_hot = F.one_hot(target.numbers, classes).float() * labelled.float()[:, None]
            condition = to_device(one_hot[:, None], device)
        step = DiffusionStep(
            groups=batch.groups,
            data=data,
            noise=noise,
            time=to_device(time.float(), device),
            condition=condition,
            conditioned=coin < self.config.self_condition_rate,
            missing=batch.missing,
            given=given,
            features=features,
        )
        return diffusion_job(loss or self.loss, cast(FITDenoiser, model), step, plan or self.run.plan)


def _addresses(batch: Batch) -> list[Address]:
    """Return the address of the noise of each group of a batch."""
    showings = [
        showing for showing, count in zip(batch.showings, batch.groups.counts(), strict=True) for _ in range(count)
    ]
    numbers = batch.groups.number.tolist()
    return [Address(image, number, epoch) for (epoch, image), number in zip(showings, numbers, strict=True)]
