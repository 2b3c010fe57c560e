"""The vector from which a classifier answers: its pooled latents before the last layer."""

from __future__ import annotations

import torch

from fitcli.device.runtime import Runtime
from fitcli.images.base import ImageReader
from fitcli.runs.finite_output import check_finite_numbers
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.classify.heads import attention_pool
from fitcli.tasks.encoding.encode import EncodingSettings, encoding
from models.encoder import FITClassifier
from models.piecewise_latents import PIECE, pieces, pool_pieces


@torch.inference_mode()
def image_vector(
    checkpoint: Checkpoint[FITClassifier], image: ImageReader, runtime: Runtime, settings: EncodingSettings
) -> list[float]:
    """Return the normalised pooled vectors of all targets, side by side: the last layer maps them to the logits.

    Args:
        checkpoint: The model and its preprocessing.
        image: The open image.
        runtime: Device and precision.
        settings: Background threshold and memory limit.

    Raises:
        ImageError: The image cannot be read, or is not of a kind that the model was trained on.
        OutOfMemory: The image needs more memory than the limit, or than there is.
        NonFiniteOutput: The vector is NaN or infinite.
        FitError: The head of the model has no pooled vector.
    """
    head = attention_pool(checkpoint.model, "pooled vector")
    with encoding(checkpoint, image, runtime, settings, purpose="image vector") as job:
        latents = job.run(lambda share: None).flatten(0, 1)
        with runtime.autocast():
            _, pooled = pool_pieces(head, latents, pieces(len(latents), PIECE))
            vector = head.norm(pooled.flatten(1)).flatten().float().tolist()
        check_finite_numbers(checkpoint, vector, "vector", image.path)
        return [float(value) for value in vector]
