"""Scores a diffusion model on the images of a data set, for `fit evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fitcli.data.dataset import Sample
from fitcli.device.runtime import Runtime
from fitcli.images.base import ImageReader
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.diffusion.scores import TIMES, image_losses
from fitcli.tasks.evaluation_result import Evaluation, Split
from fitcli.tasks.scoring_memory import UNLIMITED, ScoringLimit
from models.denoiser import FITDenoiser


@dataclass(frozen=True, slots=True)
class DenoisingScorer:
    """Denoises the images at ten noise levels; see `Scorer` for its members.

    Attributes:
        checkpoint: The model.
        runtime: Device and precision.
        whole: Whether whole images of any size are scored, instead of windows of the trained size.
        limit: Memory limit of the passes.
    """

    checkpoint: Checkpoint[FITDenoiser]
    runtime: Runtime
    whole: bool
    limit: ScoringLimit = UNLIMITED

    @property
    def depends_on(self) -> tuple[object, ...]:
        """Whether whole images are scored."""
        return (self.whole,)

    def score(self, image: ImageReader, sample: Sample, number: int) -> list[float]:
        """Return the loss at each of `TIMES`."""
        label = int(sample.target) if self.checkpoint.config.classes else None
        losses = image_losses(self.checkpoint, image, self.runtime, number, label, self.whole, self.limit)
        return [float(loss) for loss in losses]

    def summarize(self, scored: Sequence[tuple[Sample, list[float]]], split: Split, failed: int) -> Evaluation:
        """Return the mean loss, and that at each of `TIMES`."""
        means = np.mean([row for _, row in scored], axis=0)
        levels = [{"time": time, "loss": float(loss)} for time, loss in zip(TIMES, means, strict=True)]
        return Evaluation(
            task=self.checkpoint.config.task,
            split=split,
            images=len(scored),
            failed=failed,
            scores={"loss": float(means.mean()), "levels": levels},
            columns=("path", "loss", *(f"loss_at_{time:.2f}" for time in TIMES)),
            rows=[(sample.path, *(f"{value:.6f}" for value in (np.mean(row), *row))) for sample, row in scored],
            table_scores={f"loss at time {level['time']:.2f}": level["loss"] for level in levels},
        )
