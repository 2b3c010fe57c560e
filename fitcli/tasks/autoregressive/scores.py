"""How many bits an autoregressive model needs for an image: exact, by teacher forcing."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fitcli.device.runtime import Runtime
from fitcli.device.transfer import read_together, to_device
from fitcli.errors import ImageError
from fitcli.images.base import ImageReader
from fitcli.images.window import Window
from fitcli.memory.budget import HANDFUL_TOKENS
from fitcli.patches.group_order import whole_patches
from fitcli.patches.levels import to_levels
from fitcli.runs.weights import Checkpoint
from fitcli.streaming.sweeps import Streaming
from fitcli.tasks.autoregressive.next_token import sequence_of
from fitcli.tasks.autoregressive.sequences import SequenceConfig, shift_right, to_sequence
from fitcli.tasks.autoregressive.stream import stream_decoder
from fitcli.tasks.scored_windows import scored_parts
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
    checkpoint: Checkpoint[FITDecoder],
    image: ImageReader,
    runtime: Runtime,
    label: int | None = None,
    whole: bool = False,
) -> Bits:
    """The negative log likelihood of an image.

    Pixels at the right and at the bottom that do not fill a patch are left out.

    Args:
        checkpoint: Of the task "autoregressive".
        image: Open.
        runtime: Device and precision.
        label: Of the image, where the model has classes.
        whole: An image that is larger than those that the model was trained at is one sequence all the same; without,
            it is cut into windows of that size, each a sequence of its own.

    Raises:
        ImageError: The image cannot be read, is not of a kind that the model was trained on, or too small.
        CheckpointError: The run is of another task.
    """
    config, sequence = checkpoint.config, sequence_of(checkpoint.config)
    if (reason := config.preprocessing.mismatch(image.info)) is not None:
        raise ImageError(image.path, reason)
    # A table of positions knows images of one size alone.
    one_size = checkpoint.model.config.latent_positions != "coordinates"
    parts = scored_parts(
        image, sequence.size if one_size or not whole else None, sequence.size if one_size else sequence.patch
    )
    total, dimensions = 0.0, 0
    for part in parts:
        pixels = config.preprocessing.convert(part.read(Window(0, 0, *part.info.size)), image.info)
        levels = to_levels(whole_patches(pixels, sequence.patch), sequence.levels, config.preprocessing.range)
        targets = to_sequence(levels, sequence.patch, sequence.order)
        total += _sequence_bits(checkpoint.model, sequence, targets, levels.shape[:2], runtime, label)
        dimensions += targets.numel()
    return Bits(total, dimensions)


def _sequence_bits(
    model: FITDecoder,
    sequence: SequenceConfig,
    targets: Tensor,
    size: tuple[int, ...],
    runtime: Runtime,
    label: int | None,
) -> float:
    """Of the levels [g n] of one window."""
    found: list[Tensor] = []
    ids = shift_right(targets, sequence.first(label))
    known = None if not model.config.classes else to_device(torch.tensor([label]), runtime.device)

    def add(part: slice, logits: Tensor) -> None:
        wanted = to_device(targets[part].flatten(), logits.device)
        nats = F.cross_entropy(logits.float().flatten(0, 1), wanted, reduction="none")
        found.append(nats.double().sum())

    handful = max(1, HANDFUL_TOKENS[runtime.device.type] // model.config.tokens)
    with runtime.autocast():
        stream_decoder(
            model, sequence.groups((size[0], size[1])), lambda part: ids[part], add, Streaming(handful=handful), known
        )
    return sum(nats / math.log(2) for (nats,) in read_together(found))
