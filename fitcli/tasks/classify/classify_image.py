"""Classify an open image of any size: read, encode, pool. The prediction and its evidence come from one pass."""

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
from fitcli.runs.targets import Target, slices
from fitcli.runs.weights import Checkpoint
from fitcli.streaming.token_store import TokenStore
from fitcli.tasks.encoding.encode import EncodingSettings, encoding
from models.encoder import FITClassifier
from models.piecewise_latents import pool_piecewise

DEFAULTS = EncodingSettings()


@dataclass(frozen=True, slots=True)
class Classification:
    """What a model says of an image.

    Attributes:
        probabilities: [k] float64, in the order of the classes: summing to 1 where one of them holds. Of the first
            task, where there are several.
        evidence: [g n] float32, the share of each patch in the decision, summing to 1 over the image: the weight of
            its group's latents in the pooled vector, spread over the patches that they read. None unless asked for.
        grid: The arrangement over the image.
        places: (row, column) of the groups that were looked at, in the order of `evidence`.
        plan: How it was computed within its memory. None where that is not known.
        others: Probabilities of the classes of each task after the first.
    """

    probabilities: NDArray[np.float64]
    evidence: NDArray[np.float32] | None
    grid: PatchGrid
    places: list[tuple[int, int]]
    plan: MemoryPlan | None = None
    others: tuple[NDArray[np.float64], ...] = ()

    @property
    def target_probabilities(self) -> tuple[NDArray[np.float64], ...]:
        """Probabilities of the classes of each task."""
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
        checkpoint: The model and what it expects.
        image: Open; level 0 is read once.
        runtime: Device and precision.
        settings: What to leave out, how much memory to use, where to keep the state.
        keep_evidence: Return `evidence` too.
        advance: Told the share of the work that was just done; the shares sum to 1.
        finish_bytes: Memory to leave for what is done with the result.
        evidence_task: Number of the task whose evidence is kept.

    Raises:
        ImageError: The image cannot be read, or is not of a kind that the model was trained on.
        FitError: The memory is too little, or the state that of another job.
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
            pooled = pool_piecewise(checkpoint.model.head, latents, job.groups.to(runtime.device)._replace(mask=None))
        first, *others = _probabilities(pooled.logits[0].double(), checkpoint.config.class_targets)
        shares = pooled.evidence[..., evidence_target].float().cpu()
        evidence = None if job.reads is None else _spread(shares, job.reads, job.plan.handful)
        return Classification(first, evidence, job.grid, job.places, job.plan, tuple(others))


def _probabilities(logits: Tensor, tasks: Sequence[Target]) -> list[NDArray[np.float64]]:
    """Of the classes of each task: they sum to 1 where one class holds, and stand alone where any number does."""
    return [
        (logits[part].softmax(dim=-1) if task.is_single else logits[part].sigmoid()).cpu().numpy()
        for task, part in zip(tasks, slices(tasks), strict=True)
    ]


def _spread(evidence: Tensor, reads: TokenStore, handful: int) -> NDArray[np.float32]:
    """Shares of latents [g m] times what they read [g m n] -> shares of patches [g n]."""
    parts = [slice(start, min(start + handful, len(evidence))) for start in range(0, len(evidence), handful)]
    return np.concatenate([torch.einsum("gm,gmn->gn", evidence[part], reads.get(part)).numpy() for part in parts])
