"""Scores a diffusion model on the images of a data set, for `fit evaluate`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fitcli.data.dataset import Sample
from fitcli.device.runtime import Runtime
from fitcli.images.base import ImageReader
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.diffusion.config import Enlarging, diffusion_of
from fitcli.tasks.diffusion.enlarging_scores import SAMPLE_STEPS, EnlargingErrors, enlarging_errors, psnr
from fitcli.tasks.diffusion.scores import TIMES, image_losses, scoring
from fitcli.tasks.evaluation_result import Evaluation, Split
from fitcli.tasks.scoring_memory import UNLIMITED, ScoringLimit
from models.denoiser import FITDenoiser

PSNR = tuple(f"psnr_{name}" for name in EnlargingErrors._fields)
"""Names of the scores of a run that enlarges."""


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
        """Whether whole images are scored, and the steps of enlarged images."""
        return (self.whole,) if self._enlarging is None else (self.whole, SAMPLE_STEPS)

    @property
    def _enlarging(self) -> Enlarging | None:
        return diffusion_of(self.checkpoint.config).enlarging

    def score(self, image: ImageReader, sample: Sample, number: int) -> list[float]:
        """Return the loss at each of `TIMES`; of a run that enlarges, also the errors of `EnlargingErrors`."""
        label = int(sample.target) if self.checkpoint.config.classes else None
        losses = image_losses(self.checkpoint, image, self.runtime, number, label, self.whole, self.limit)
        errors = [] if self._enlarging is None else self._errors(self._enlarging, image, number, label)
        return [*map(float, losses), *errors]

    def _errors(self, enlarging: Enlarging, image: ImageReader, number: int, label: int | None) -> list[float]:
        diffusion, checkpoint = diffusion_of(self.checkpoint.config), self.checkpoint
        how = scoring(diffusion, checkpoint.model)
        execution = self.limit.execution(checkpoint, image, diffusion.size, self.runtime, how)
        errors = enlarging_errors(checkpoint, enlarging, image, self.runtime, number, label, execution)
        return [math.nan] * len(EnlargingErrors._fields) if errors is None else list(errors)

    def summarize(self, scored: Sequence[tuple[Sample, list[float]]], split: Split, failed: int) -> Evaluation:
        """Return the mean loss, and that at each of `TIMES`."""
        means = np.mean([row[: len(TIMES)] for _, row in scored], axis=0)
        more = () if self._enlarging is None else PSNR
        enlarged = self._psnr([row[len(TIMES) :] for _, row in scored])
        levels = [{"time": time, "loss": float(loss)} for time, loss in zip(TIMES, means, strict=True)]
        return Evaluation(
            task=self.checkpoint.config.task,
            split=split,
            images=len(scored),
            failed=failed,
            scores={"loss": float(means.mean()), "levels": levels, **enlarged},
            columns=("path", "loss", *(f"loss_at_{time:.2f}" for time in TIMES), *more),
            rows=[(sample.path, *_row(row)) for sample, row in scored],
            table_scores={f"loss at time {level['time']:.2f}": level["loss"] for level in levels},
        )

    def _psnr(self, errors: list[list[float]]) -> dict[str, float]:
        """Return the mean PSNR over the images that are large enough to shrink, by the kind of enlargement."""
        ratios = [[psnr(error) for error in row] for row in errors if row and not math.isnan(row[0])]
        return dict(zip(PSNR, map(float, np.mean(ratios, axis=0)), strict=True)) if ratios else {}


def _row(values: list[float]) -> list[str]:
    """Return the cells of an image: its mean loss, the losses, and the PSNR of each enlargement."""
    losses, errors = values[: len(TIMES)], values[len(TIMES) :]
    ratios = ["" if math.isnan(error) else f"{psnr(error):.3f}" for error in errors]
    return [*(f"{value:.6f}" for value in (np.mean(losses), *losses)), *ratios]
