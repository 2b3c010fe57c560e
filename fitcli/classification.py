"""Classify an open image of any size: read, encode, pool. The prediction and its evidence come from one pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fitcli.background import foreground
from fitcli.checkpoints import Checkpoint
from fitcli.errors import ImageError
from fitcli.grid import PatchGrid
from fitcli.images.base import ImageReader
from fitcli.patches import groups_of, normalize, read_patches
from fitcli.runtime import Runtime
from fitcli.streaming import stream_latents

HANDFUL_TOKENS = 8192
"""Tokens computed together: enough to keep a processor busy, few enough to stay in its caches (MiB, not GiB)."""


@dataclass(frozen=True, slots=True)
class Classification:
    """What a model says of an image.

    Attributes:
        probabilities: [k] float64, summing to 1, in the order of the classes.
        evidence: [g n] float32, the share of each patch in the decision, summing to 1 over the image: the weight of
            its group's latents in the pooled vector, spread over the patches that they read. None unless asked for.
        grid: The arrangement over the image.
        places: (row, column) of the groups that were looked at, in the order of `evidence`.
    """

    probabilities: NDArray[np.float64]
    evidence: NDArray[np.float32] | None
    grid: PatchGrid
    places: list[tuple[int, int]]


def _patch_grid(checkpoint: Checkpoint, image: ImageReader) -> PatchGrid:
    """The arrangement of a model's groups over an image.

    Raises:
        ImageError: The image is not of a kind that the model was trained on.
    """
    if reason := checkpoint.config.preprocessing.mismatch(image.info):
        raise ImageError(image.path, reason)
    return PatchGrid(image.info.size, checkpoint.config.model.patch, checkpoint.config.model.group)


@torch.inference_mode()
def classify_image(
    checkpoint: Checkpoint,
    image: ImageReader,
    runtime: Runtime,
    background: float | None = None,
    keep_evidence: bool = False,
    advance: Callable[[float], None] = lambda share: None,
) -> Classification:
    """Classify a whole image, reading it a few groups at a time.

    Args:
        checkpoint: The model and what it expects.
        image: Open; level 0 is read once.
        runtime: Device and precision.
        background: Leave out groups that vary less, see `background.foreground`; None to look at all.
        keep_evidence: Return `evidence` too.
        advance: Told the share of the work that was just done; the shares sum to 1.

    Raises:
        ImageError: The image cannot be read, or is not of a kind that the model was trained on.
    """
    grid, config = _patch_grid(checkpoint, image), checkpoint.config
    places = list(grid.coordinates()) if background is None else foreground(image, grid, background)
    groups = groups_of(grid, places)
    work = len(places) * len(config.model.segments)
    mean, std = torch.tensor(config.preprocessing.mean), torch.tensor(config.preprocessing.std)

    def patches(part: slice) -> Tensor:
        cut = read_patches(image, grid, places[part], lambda p: config.preprocessing.convert(p, image.info))
        return normalize(cut, mean, std)

    handful = max(1, HANDFUL_TOKENS // config.model.tokens)
    with runtime.autocast():
        streamed = stream_latents(
            checkpoint.model.encoder, groups, patches, handful, keep_evidence, lambda count: advance(count / work)
        )
        pooled = checkpoint.model.head(streamed.latents, groups.to(runtime.device)._replace(mask=None))
    probabilities = pooled.logits[0].double().softmax(dim=-1).cpu().numpy()
    evidence = _spread(pooled.evidence, streamed.reads) if streamed.reads is not None else None
    return Classification(probabilities, evidence, grid, places)


def _spread(evidence: Tensor, reads: Tensor) -> NDArray[Any]:
    """Shares of latents [g m] times what they read [g m n] -> shares of patches [g n]."""
    shares: NDArray[Any] = torch.einsum("gm,gmn->gn", evidence.float().cpu(), reads).numpy()
    return shares
