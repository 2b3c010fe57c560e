"""How many bits an autoregressive model needs for an image: exact, by teacher forcing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fitcli.autoregression_images import sequence_of
from fitcli.checkpoints import Checkpoint
from fitcli.errors import ImageError
from fitcli.images.base import ImageReader
from fitcli.memory.budget import HANDFUL_TOKENS
from fitcli.runtime import Runtime
from fitcli.sequences import SequenceConfig, shift_right, to_levels, to_sequence, whole_patches
from fitcli.streaming import stream_decoder
from fitcli.sweeps import Streaming
from fitcli.window import Window
from models.decoder import FITDecoder


class Bits(NamedTuple):
    """Of an image: the bits of all its values that were looked at, and how many values these are."""

    total: float
    dimensions: int

    @property
    def per_dimension(self) -> float:
        """-log2 of the probability of a value, on average: ignorance of L levels costs log2(L)."""
        return self.total / self.dimensions


@torch.inference_mode()
def image_bits(
    checkpoint: Checkpoint[FITDecoder], image: ImageReader, runtime: Runtime, label: int | None = None
) -> Bits:
    """The negative log likelihood of an image.

    An image that is larger than those that the model was trained at is cut into windows of that size, each a sequence
    of its own. Pixels at the right and at the bottom that do not fill a patch are left out.

    Args:
        checkpoint: Of the task "autoregressive".
        image: Open.
        runtime: Device and precision.
        label: Of the image, where the model has classes.

    Raises:
        ImageError: The image cannot be read, is not of a kind that the model was trained on, or too small.
        CheckpointError: The run is of another task.
    """
    config, sequence = checkpoint.config, sequence_of(checkpoint.config)
    if (reason := config.preprocessing.mismatch(image.info)) is not None:
        raise ImageError(image.path, reason)
    total, dimensions = 0.0, 0
    for window in _windows(image, sequence, checkpoint.model.config.latent_positions != "coordinates"):
        pixels = config.preprocessing.convert(image.read(window), image.info)
        levels = to_levels(whole_patches(pixels, sequence.patch), sequence.levels, config.preprocessing.range)
        targets = to_sequence(levels, sequence.patch, sequence.order)
        total += _sequence_bits(checkpoint.model, sequence, targets, levels.shape[:2], runtime, label)
        dimensions += targets.numel()
    return Bits(total, dimensions)


def _windows(image: ImageReader, sequence: SequenceConfig, one_size: bool) -> Iterator[Window]:
    """Side by side over the image, of the trained size or less where the image ends, unless only one size will do."""
    (height, width), least = image.info.size, sequence.size if one_size else sequence.patch
    if height < least[0] or width < least[1]:
        raise ImageError(
            image.path, f"is {width} x {height} pixels, the model needs {least[1]} x {least[0]}; leave it out"
        )
    for top in range(0, height - least[0] + 1, sequence.size[0]):
        for left in range(0, width - least[1] + 1, sequence.size[1]):
            yield Window(top, left, *sequence.size).clip(height, width)


def _sequence_bits(
    model: FITDecoder,
    sequence: SequenceConfig,
    targets: Tensor,
    size: tuple[int, ...],
    runtime: Runtime,
    label: int | None,
) -> float:
    """Of the levels [g n] of one window."""
    bits = 0.0
    ids = shift_right(targets, sequence.first(label))
    known = None if not model.config.classes else torch.tensor([label], device=runtime.device)

    def add(part: slice, logits: Tensor) -> None:
        nonlocal bits
        nats = F.cross_entropy(
            logits.float().flatten(0, 1), targets[part].flatten().to(logits.device), reduction="none"
        )
        bits += nats.double().sum().item() / math.log(2)

    handful = max(1, HANDFUL_TOKENS[runtime.device.type] // model.config.tokens)
    with runtime.autocast():
        stream_decoder(
            model, sequence.groups((size[0], size[1])), lambda part: ids[part], add, Streaming(handful=handful), known
        )
    return bits
