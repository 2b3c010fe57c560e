"""Images pixel by pixel, each value given all before it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from fitcli.data.batch import Batch
from fitcli.data.csv_listing import Labels
from fitcli.data.dataset import Dataset
from fitcli.data.read_item import Layout, too_small
from fitcli.data.survey import Survey
from fitcli.device.transfer import to_device
from fitcli.errors import DataError
from fitcli.execution.forward import group_losses
from fitcli.execution.job import Job, Outcome
from fitcli.execution.plan import ExecutionPlan
from fitcli.patches.cutting import patches_to_levels
from fitcli.runs.config import RunConfig
from fitcli.runs.train_settings import TrainSettings
from fitcli.runs.weights import Checkpoint, TaskModel
from fitcli.tasks.autoregressive.sequences import SequenceConfig
from fitcli.tasks.autoregressive.step import decoding_job
from fitcli.tasks.context import TrainingRun
from fitcli.tasks.task import DeferredScores, Objective, Validation
from fitcli.tasks.validation import shared_sums, validation_loader
from models.decoder import FITDecoder
from models.presets import decoder_preset

ALL_LEVELS = 256
"""Of 8 bit pixels."""


class Autoregressive:
    """`--task autoregressive`."""

    @property
    def labels(self) -> Labels:
        """Without classes it learns what all images have in common."""
        return "welcome"

    def check(self, settings: TrainSettings) -> None:
        """See `Task.check`."""
        decoder_preset(settings.preset, 1, 0, settings.levels or ALL_LEVELS, 0, settings.patch)

    def describe(self, settings: TrainSettings, dataset: Dataset, survey: Survey) -> RunConfig:
        """See `Task.describe`."""
        preprocessing, classes = survey.preprocessing, len(dataset.classes)
        path, smallest = survey.smallest
        if preprocessing.dtype != "uint8" and settings.levels is None:
            raise DataError(
                f"{path}: has {preprocessing.dtype} pixels, too many different values to predict; "
                f"give --levels {ALL_LEVELS} or fewer to train on that many shades of them"
            )
        levels = settings.levels or ALL_LEVELS
        black, white = preprocessing.range
        assert black < white
        side = decoder_preset(settings.preset, 1, 0, levels, 0, settings.patch)[1]
        if min(*smallest, settings.size or min(smallest)) < side:
            size = min(smallest[0], settings.size or smallest[0]), min(smallest[1], settings.size or smallest[1])
            raise DataError(f"{path}: {too_small(size, side)}")
        sequence = SequenceConfig(
            patch=(side, side),
            size=survey.typical_size(settings.size),
            order=settings.order,
            levels=levels,
            start=settings.start,
        )
        starts = sequence.starts(classes)
        model, _ = decoder_preset(settings.preset, preprocessing.channels, classes, levels, starts, settings.patch)
        return RunConfig(
            task="autoregressive",
            model=model,
            preprocessing=preprocessing,
            classes=dataset.classes,
            sequence=sequence,
        )

    def objective(self, run: TrainingRun) -> Objective:
        """See `Task.objective`."""
        assert run.config.sequence is not None
        return NextTokenObjective(run, run.config.sequence)


@dataclass(frozen=True, slots=True)
class NextTokenObjective:
    """Cross-entropy of each value given those before it, in bits per value: bits per dimension.

    Attributes:
        run: What it is for.
        config: Of the sequences.
    """

    run: TrainingRun
    config: SequenceConfig

    @property
    def layout(self) -> Layout:
        """One patch is one group, of single pixels."""
        return Layout(patch=1, group=self.config.patch[0], order=self.config.order, any_origin=False)

    def job(self, model: TaskModel, batch: Batch, plan: ExecutionPlan | None = None) -> Job:
        """See `Objective.job`."""
        return self._job(model, batch, self.run.settings.label_smoothing)

    def weight(self, batch: Batch) -> float:
        """See `Objective.weight`."""
        return float(batch.groups.count_real_tokens(batch.patches.shape[1]))

    def scores(self, batch: Batch, outcome: Outcome) -> DeferredScores | None:
        """Bits per dimension; unknown where the loss is one of smoothed targets."""
        if self.run.settings.label_smoothing:
            return None
        images = len(batch.labels)
        return DeferredScores(outcome.loss, lambda values: {"bits_per_dimension": values[0] * images})

    def validate(self, checkpoint: Checkpoint[TaskModel]) -> Validation:
        """Bits per dimension of all validation images, or of one window of each."""
        run = self.run
        loader = validation_loader(run, run.dataset.validation, self.layout)

        def look() -> dict[str, float]:
            total, patches = 0.0, 0
            with closing(loader.fixed()) as batches:
                for batch in batches:
                    with run.runtime.autocast():
                        job = self._job(checkpoint.model, run.bring(batch), smoothing=0.0)
                        total += float(group_losses(job, run.plan).sum()) * batch.real_patches()
                    patches += batch.real_patches()
            return {"bits": total, "patches": patches}

        found = shared_sums(run, look)
        bits = found["bits"] / found["patches"]
        return Validation(
            loss=bits, scores={"bits_per_dimension": bits}, rank=(-bits,), said=("bits per dimension", f"{bits:.3f}")
        )

    def _job(self, model: TaskModel, batch: Batch, smoothing: float) -> Job:
        """The job of a batch. Of the pixels only their bytes are kept."""
        preprocessing = self.run.config.preprocessing

        def levels(patches: Tensor) -> Tensor:
            return patches_to_levels(patches, preprocessing.range, self.config.levels).flatten(1)

        def targets(part: slice) -> Tensor:
            return levels(batch.part(part))

        before = self._tokens_before(
            batch, levels(to_device(batch.patches[:, -1:, -1:], batch.labels.device))[:, 0]
        )  # [g]

        def ids(part: slice) -> Tensor:
            return torch.cat([before[part, None], targets(part)[:, :-1]], dim=1)

        labels = batch.labels if self.run.config.classes else None
        return decoding_job(cast(FITDecoder, model), batch.groups, ids, targets, labels, smoothing)

    def _tokens_before(self, batch: Batch, last: Tensor) -> Tensor:
        """The token before each group: the last of the group before, or the start of its image. [g]."""
        groups, conditional = batch.groups, bool(self.run.config.classes)
        labels = batch.on_host.labels.tolist()
        starts = torch.tensor([self.config.first(label if conditional else None) for label in labels])
        start = to_device(starts, last.device)[:, None].expand(-1, groups.longest)
        return torch.where(groups.number == 0, groups.scatter(start), groups.shift(last))
