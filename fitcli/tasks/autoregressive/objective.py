"""The training objective of an autoregressive model: cross-entropy of each value given those before it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from typing import ClassVar, cast

import torch
from torch import Tensor

from fitcli.data.batch import Batch
from fitcli.data.place import Layout
from fitcli.data.read_item import Reading
from fitcli.device.transfer import to_device
from fitcli.execution.forward import group_losses
from fitcli.execution.job import Job, Outcome
from fitcli.execution.plan import ExecutionPlan
from fitcli.patches.cutting import patches_to_levels
from fitcli.runs.weights import Checkpoint, TaskModel
from fitcli.tasks.autoregressive.options import AutoregressiveOptions
from fitcli.tasks.autoregressive.sequences import SequenceConfig
from fitcli.tasks.autoregressive.step import decoding_job
from fitcli.tasks.class_targets import ClassLabelReader, ClassLabels
from fitcli.tasks.context import TrainingRun, place_rules
from fitcli.tasks.task import DeferredScores, Validation
from fitcli.tasks.validation import shared_sums, validation_loader, with_less_memory
from models.decoder import FITDecoder


@dataclass(frozen=True, slots=True)
class NextTokenObjective:
    """Cross-entropy of each value given those before it, in bits per dimension; see `Objective` for its members.

    Attributes:
        run: The run that is trained.
        config: Form of the sequences.
    """

    run: TrainingRun
    config: SequenceConfig

    counts_own_groups: ClassVar[bool] = False

    @property
    def options(self) -> AutoregressiveOptions:
        """Options of the task."""
        return cast(AutoregressiveOptions, self.run.settings.options)

    @property
    def reading(self) -> Reading:
        """How the images of the run are read: each patch of the config is a group, whose patches are single pixels."""
        layout = Layout(patch=1, group=self.config.patch[0], order=self.config.order, any_origin=False)
        return Reading(
            layout=layout,
            rules=place_rules(self.run),
            preprocessing=self.run.config.preprocessing,
            targets=ClassLabelReader(),
        )

    def job(self, model: TaskModel, batch: Batch, plan: ExecutionPlan | None = None) -> Job:
        """Return the step of the mean cross-entropy over all values of a batch, in bits."""
        return self._job(model, batch, self.options.label_smoothing)

    def weight(self, batch: Batch) -> float:
        """Return the number of pixels of a batch, without padding."""
        return float(batch.groups.count_real_tokens(batch.patches.shape[1]))

    def scores(self, batch: Batch, outcome: Outcome) -> DeferredScores | None:
        """Return the bits per dimension; None with label smoothing, whose loss differs from them."""
        if self.options.label_smoothing:
            return None
        images = batch.images
        return DeferredScores(outcome.loss, lambda values: {"bits_per_dimension": values[0] * images})

    def validate(self, checkpoint: Checkpoint[TaskModel]) -> Validation:
        """Compute the bits per dimension of all validation images, or of one window of each."""
        run = self.run
        loader = validation_loader(run, run.dataset.validation, replace(self.reading, marked=True))

        def own_sums() -> dict[str, float]:
            total, patches = 0.0, 0.0
            with closing(loader.fixed()) as batches:
                for batch in batches:
                    job = self._job(checkpoint.model, run.bring(batch), smoothing=0.0)

                    def loss(plan: ExecutionPlan, job: Job = job) -> float:
                        with run.runtime.autocast():
                            return float(group_losses(job, plan).sum())

                    total += with_less_memory(run, len(batch.groups.number), loss) * batch.real_patches()
                    patches += batch.real_patches()
            return {"bits": total, "patches": patches}

        sums = shared_sums(run, own_sums)
        bits = sums["bits"] / sums["patches"]
        return Validation(
            loss=bits,
            scores={"bits_per_dimension": bits},
            rank=(-bits,),
            headline=("bits per dimension", f"{bits:.3f}"),
        )

    def _job(self, model: TaskModel, batch: Batch, smoothing: float) -> Job:
        """Return the step of a batch. It keeps the bytes of the pixels alone, and cuts them into levels when needed."""
        preprocessing = self.run.config.preprocessing

        def levels(patches: Tensor) -> Tensor:
            return patches_to_levels(patches, preprocessing.range, self.config.levels).flatten(1)

        def next_ids(part: slice) -> Tensor:
            return levels(batch.part(part))

        before = self._tokens_before(batch, levels(to_device(batch.patches[:, -1:, -1:], batch.device))[:, 0])  # [g]

        def ids(part: slice) -> Tensor:
            return torch.cat([before[part, None], next_ids(part)[:, :-1]], dim=1)

        labels = _labels(batch) if self.run.config.classes else None
        return decoding_job(cast(FITDecoder, model), batch.groups, ids, next_ids, labels, smoothing, batch.missing)

    def _tokens_before(self, batch: Batch, last: Tensor) -> Tensor:
        """Return the token before each group, [g]: the last of the group before, or the start of its image.

        Args:
            batch: The batch.
            last: Last token of each group, [g].
        """
        groups, conditional = batch.groups, bool(self.run.config.classes)
        labels = _labels(batch.on_host).tolist()
        starts = torch.tensor([self.config.first(label if conditional else None) for label in labels])
        start = to_device(starts, last.device)[:, None].expand(-1, groups.longest)
        return torch.where(groups.number == 0, groups.scatter(start), groups.shift(last))


def _labels(batch: Batch) -> Tensor:
    """Return the class of each image, [b] int64."""
    assert isinstance(batch.target, ClassLabels)
    return batch.target.numbers
