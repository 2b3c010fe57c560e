"""Computes the exact number of bits that an autoregressive model needs for an image, by teacher forcing."""

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
from fitcli.memory.handfuls import usual_handful
from fitcli.memory.retry import with_less
from fitcli.patches.group_order import whole_patches
from fitcli.patches.levels import to_levels
from fitcli.runs.weights import Checkpoint
from fitcli.streaming.sweeps import Streaming
from fitcli.tasks.autoregressive.sequences import SequenceConfig, sequence_of, shift_right, to_sequence
from fitcli.tasks.autoregressive.stream import stream_decoder
from fitcli.tasks.scored_windows import NO_PIXELS, scored_parts
from models.decoder import FITDecoder


class Bits(NamedTuple):
    """The negative log likelihood of an image.

    Attributes:
        total: Bits of all scored values.
        dimensions: Number of scored values: all of the image that are not missing.
    """

    total: float
    dimensions: int

    @property
    def per_dimension(self) -> float:
        """Mean of -log2 of the probability of a value. A uniform guess among L levels costs log2(L)."""
        return self.total / self.dimensions


@torch.inference_mode()
def image_bits(
    checkpoint: Checkpoint[FITDecoder],
    image: ImageReader,
    runtime: Runtime,
    label: int | None = None,
    whole: bool = False,
) -> Bits:
    """Compute the negative log likelihood of an image.

    Pixels at the right and the lower edge that do not fill a patch are left out, and missing ones
    do not count: the model sees them as the mean.

    Args:
        checkpoint: A run of the task "autoregressive".
        image: The open image.
        runtime: Device and precision.
        label: Class of the image; None for a model without classes.
        whole: Whether an image larger than the training images is one sequence, instead of one sequence per window of
            the trained size.

    Raises:
        ImageError: The image cannot be read, is too small, is not of a kind that the model was trained on, or has no
            pixels.
        CheckpointError: The run is of another task.
    """
    config, sequence = checkpoint.config, sequence_of(checkpoint.config)
    if (reason := config.preprocessing.mismatch(image.info)) is not None:
        raise ImageError(image.path, reason)
    # A model with a table of positions takes images of one size only.
    one_size = checkpoint.model.config.latent_positions != "coordinates"
    parts = scored_parts(
        image, sequence.size if one_size or not whole else None, sequence.size if one_size else sequence.patch
    )
    total, dimensions = 0.0, 0
    for part in parts:
        read = part.read(Window(0, 0, *part.info.size))
        pixels, missing = config.preprocessing.convert_filled(read, image.info)
        levels = to_levels(whole_patches(pixels, sequence.patch), sequence.levels, config.preprocessing.range)
        next_ids = to_sequence(levels, sequence.patch, sequence.order)
        present = None
        if missing is not None:
            present = to_sequence(~whole_patches(missing, sequence.patch), sequence.patch, sequence.order).bool()
            if not present.any():
                continue
        total += _sequence_bits(checkpoint.model, sequence, next_ids, present, levels.shape[:2], runtime, label)
        dimensions += next_ids.numel() if present is None else int(present.sum())
    if not dimensions:
        raise ImageError(image.path, NO_PIXELS)
    return Bits(total, dimensions)


def _sequence_bits(
    model: FITDecoder,
    sequence: SequenceConfig,
    next_ids: Tensor,
    present: Tensor | None,
    size: tuple[int, ...],
    runtime: Runtime,
    label: int | None,
) -> float:
    """Return the bits of one window, from its levels [g n], those of them that count, and its (height, width)."""
    ids = shift_right(next_ids, sequence.first(label))
    labels = None if not model.config.classes else to_device(torch.tensor([label]), runtime.device)

    def bits(handful: int) -> float:
        sums: list[Tensor] = []

        def add(part: slice, logits: Tensor) -> None:
            runtime.check_overflow(logits)
            expected = to_device(next_ids[part].flatten(), logits.device)
            nats = F.cross_entropy(logits.float().flatten(0, 1), expected, reduction="none")
            if present is not None:
                nats = nats.masked_fill(~to_device(present[part].flatten(), logits.device), 0)
            sums.append(nats.double().sum())

        groups, how = sequence.groups((size[0], size[1])), Streaming(handful=handful)
        with runtime.autocast():
            stream_decoder(model, groups, lambda part: ids[part], add, how, labels)
        return sum(nats / math.log(2) for (nats,) in read_together(sums))

    return with_less(runtime.device, bits, min(len(ids), usual_handful(model.config, "pass", runtime.device.type)))
