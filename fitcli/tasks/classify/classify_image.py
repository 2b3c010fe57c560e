"""Classifies an open image of any size. One pass gives the prediction and its evidence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fitcli.device.runtime import Runtime
from fitcli.images.base import ImageReader
from fitcli.memory.budget import MemoryPlan
from fitcli.patches.grid import PatchGrid
from fitcli.reports.page import fragment
from fitcli.runs.finite_output import check_finite_numbers
from fitcli.runs.targets import Target, slices
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.classify.evidence import spread, spread_contributions
from fitcli.tasks.classify.heads import attention_pool, check_evidence, check_weights
from fitcli.tasks.classify.targets.kinds import kind_of
from fitcli.tasks.encoding.encode import EncodingPass, EncodingSettings, encoding
from models.contributions import contributions
from models.encoder import FITClassifier
from models.piecewise_latents import pool_piecewise

DEFAULTS = EncodingSettings()


CLASSES_AT_ONCE = 8
"""Classes whose contributions are computed together: few, so that they take little memory beside the latents."""

CONTRIBUTIONS = "contributions to a class"


@dataclass(frozen=True, slots=True)
class Contributions:
    """The logit of a class as the sum of what the patches contribute, and a bias.

    For a single-label target the logit counts from the mean of the logits of all classes of the target: the softmax
    depends on differences alone. See `models/contributions.py`.

    Attributes:
        values: [g n] float32, contribution of each patch in the order of `Classification.places`; 0 for padding.
        bias: The part of the logit that no patch contributes: the logit is the sum of `values`, plus `bias`.
    """

    values: NDArray[np.float32]
    bias: float


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
        by_class: Contributions to the logit of each class that was asked for, by its name.
    """

    probabilities: NDArray[np.float64]
    evidence: NDArray[np.float32] | None
    grid: PatchGrid
    places: list[tuple[int, int]]
    plan: MemoryPlan | None = None
    others: tuple[NDArray[np.float64], ...] = ()
    by_class: Mapping[str, Contributions] = field(default_factory=dict)

    @property
    def target_probabilities(self) -> tuple[NDArray[np.float64], ...]:
        """Class probabilities of each target, or what else its kind predicts."""
        return (self.probabilities, *self.others)

    def _repr_html_(self) -> str:
        """Return the predictions of each target as a table, for notebooks."""
        rows = [
            (str(target), str(number), f"{value:.6g}")
            for target, values in enumerate(self.target_probabilities)
            for number, value in enumerate(values.tolist())
        ]
        height, width = self.grid.size
        caption = (
            f"Image of {width:,} x {height:,} pixels, {len(self.places):,} of {self.grid.count:,} groups looked at"
        )
        return fragment(caption, ("target", "class", "probability"), rows)

    def contributions(self, name: str) -> Contributions:
        """Return what each patch contributes to the logit of a class.

        Raises:
            ValueError: The contributions to this class were not kept.
        """
        if name not in self.by_class:
            raise ValueError(f"classify with keep_contributions=[{name!r}] for the contributions to this class")
        return self.by_class[name]


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
    keep_contributions: Sequence[str] = (),
    take_latents: Callable[[Tensor], None] | None = None,
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
        evidence_target: Number of the target whose evidence or contributions are kept.
        keep_contributions: Names of the classes of this target whose `contributions` are kept, 4 bytes per patch each.
        take_latents: Called with the normalised latents [g m d], on the device.

    Raises:
        ImageError: The image cannot be read, or is not of a kind that the model was trained on.
        OutOfMemory: The image needs more memory than the limit, or than there is.
        FitError: The state belongs to another job, or the head of the model gives no evidence or contributions, or
            weights that are no shares.
        NonFiniteOutput: The predictions are NaN or infinite.
        ValueError: The target has no such class.
    """
    targets = checkpoint.config.class_targets
    numbers = [targets[evidence_target].classes.index(name) for name in keep_contributions]
    if keep_evidence:
        check_evidence(checkpoint.model)
    if numbers:
        attention_pool(checkpoint.model, CONTRIBUTIONS)
    with encoding(
        checkpoint,
        image,
        runtime,
        settings,
        purpose="classify",
        keep_reads=keep_evidence or bool(numbers),
        finish_bytes=finish_bytes,
    ) as job:
        latents = job.run(advance)
        with runtime.autocast():
            pooled = pool_piecewise(checkpoint.model.head, latents, job.groups.to(runtime.device))
        if take_latents is not None:
            take_latents(latents)
        check_finite_numbers(checkpoint, pooled.logits[0].tolist(), "predictions", image.path)
        first, *others = _probabilities(pooled.logits[0].double(), targets)
        kept = _evidence(job, checkpoint.model, pooled.evidence[..., evidence_target]) if keep_evidence else None
        by_class = _by_class(
            job, checkpoint.model, latents, targets[evidence_target].is_single, evidence_target, numbers
        )
        named = dict(zip(keep_contributions, by_class, strict=True))
        return Classification(first, kept, job.grid, job.places, job.plan, tuple(others), named)


def _evidence(job: EncodingPass, model: FITClassifier, weights: Tensor) -> NDArray[np.float32] | None:
    """Return the evidence of the patches, from the weights of the latents [g m]; None if the pass kept no reads."""
    if job.reads is None:
        return None
    weights = weights.float().cpu()
    check_weights(model, weights)
    return spread(weights, job.reads, job.grid, job.places, job.plan.handful)


def _by_class(
    job: EncodingPass, model: FITClassifier, latents: Tensor, relative: bool, target: int, classes: Sequence[int]
) -> list[Contributions]:
    """Return the contributions of the patches to the logits of some classes of a target, given by their numbers."""
    result: list[Contributions] = []
    for start in range(0, len(classes), CLASSES_AT_ONCE):
        assert job.reads is not None
        some = classes[start : start + CLASSES_AT_ONCE]
        of_latents = contributions(attention_pool(model, CONTRIBUTIONS), latents, target, some, relative)
        values = spread_contributions(of_latents.values.cpu(), job.reads, job.plan.handful)
        result += map(Contributions, values, of_latents.bias.tolist())
    return result


def _probabilities(logits: Tensor, targets: Sequence[Target]) -> list[NDArray[np.float64]]:
    """Return the class probabilities of each target, or what else its kind predicts."""
    return [
        kind_of(target).predict(target, logits[part]) for target, part in zip(targets, slices(targets), strict=True)
    ]
