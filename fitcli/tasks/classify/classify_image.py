"""Classifies an open image of any size. One pass gives the prediction and its evidence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fitcli.device.runtime import Runtime
from fitcli.images.base import ImageReader
from fitcli.memory.budget import MemoryPlan
from fitcli.patches.grid import PatchGrid
from fitcli.runs.finite_output import check_finite_numbers
from fitcli.runs.targets import Target, slices
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.classify.evidence import spread
from fitcli.tasks.classify.targets.kinds import kind_of
from fitcli.tasks.encoding.encode import EncodingSettings, encoding
from models.encoder import FITClassifier
from models.piecewise_latents import pool_piecewise

DEFAULTS = EncodingSettings()


@dataclass(frozen=True, slots=True)
class Classification:
    """The prediction of a model for an image.

    Attributes:
        probabilities: [k] float64, class probabilities of the first target. They sum to 1 for a single-label target.
            For targets of other kinds, the numbers of `TargetKind.predict`.
        evidence: [g n] float32, share of each patch in the decision, with sum 1 over the image: the weight of the
            latents of its group in the pooled vector, spread over the patches that they read, by area. None if not
            kept. See `evidence.py`.
        grid: Groups and patches over the image.
        places: (row, column) of the groups that were encoded, in the order of `evidence`.
        plan: Execution of the pass; None if unknown.
        others: The same of each further target.
    """

    probabilities: NDArray[np.float64]
    evidence: NDArray[np.float32] | None
    grid: PatchGrid
    places: list[tuple[int, int]]
    plan: MemoryPlan | None = None
    others: tuple[NDArray[np.float64], ...] = ()

    @property
    def target_probabilities(self) -> tuple[NDArray[np.float64], ...]:
        """Class probabilities of each target, or what else its kind predicts."""
        return (self.probabilities, *self.others)


@torch.inference_mode()
def classify_image(
    checkpoint: Checkpoint[FITClassifier],
    image: ImageReader,
    runtime: Runtime,
    settings: EncodingSettings = DEFAULTS,
    keep_evidence: bool = False,
    advance: Callable[[float], None] = lambda share: None,
    finish_bytes: int = 0,
    evidence_target: int = 0,
) -> Classification:
    """Classify a whole image, reading it a few groups at a time.

    Args:
        checkpoint: The model and its preprocessing.
        image: The open image; level 0 is read once, and once more to find background if the image has no smaller level.
        runtime: Device and precision.
        settings: Background threshold, memory limit and folder for the state.
        keep_evidence: Whether to return `evidence`.
        advance: Called with the share of the work that was just done; the shares sum to 1.
        finish_bytes: Memory to reserve for the work that follows the classification.
        evidence_target: Number of the target whose evidence is kept.

    Raises:
        ImageError: The image cannot be read, or is not of a kind that the model was trained on.
        OutOfMemory: The image needs more memory than the limit, or than there is.
        FitError: The state belongs to another job.
        NonFiniteOutput: The predictions are NaN or infinite.
    """
    with encoding(
        checkpoint,
        image,
        runtime,
        settings,
        purpose="classify",
        keep_reads=keep_evidence,
        finish_bytes=finish_bytes,
    ) as job:
        latents = job.run(advance)
        with runtime.autocast():
            pooled = pool_piecewise(checkpoint.model.head, latents, job.groups.to(runtime.device))
        check_finite_numbers(checkpoint, pooled.logits[0].tolist(), "predictions", image.path)
        first, *others = _probabilities(pooled.logits[0].double(), checkpoint.config.class_targets)
        weights = pooled.evidence[..., evidence_target].float().cpu()
        kept = None if job.reads is None else spread(weights, job.reads, job.grid, job.places, job.plan.handful)
        return Classification(first, kept, job.grid, job.places, job.plan, tuple(others))


def _probabilities(logits: Tensor, targets: Sequence[Target]) -> list[NDArray[np.float64]]:
    """Return the class probabilities of each target, or what else its kind predicts."""
    return [
        kind_of(target).predict(target, logits[part]) for target, part in zip(targets, slices(targets), strict=True)
    ]
