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
from fitcli.memory.budget import SAMPLER_VALUES
from fitcli.memory.retry import with_less
from fitcli.patches.group_order import whole_patches
from fitcli.patches.levels import to_levels
from fitcli.runs.weights import Checkpoint
from fitcli.streaming.sweeps import Streaming
from fitcli.streaming.token_store import StoreKind
from fitcli.tasks.autoregressive.sequences import SequenceConfig, sequence_of, shift_right, to_sequence
from fitcli.tasks.autoregressive.stream import stream_decoder
from fitcli.tasks.scored_windows import NO_PIXELS, scored_parts
from fitcli.tasks.scoring_memory import UNLIMITED, Scoring, ScoringLimit
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


LOGIT_VALUES = 2
"""float32 values that scoring takes per logit: the logit itself and its log probability."""

ID_BYTES, LEVELS_BYTES = 8, 40
"""Bytes of an id, and bytes per value of a window that becomes a sequence: levels, ids, shifted ids, copies of them."""


@torch.inference_mode()
def image_bits(
    checkpoint: Checkpoint[FITDecoder],
    image: ImageReader,
    runtime: Runtime,
    label: int | None = None,
    whole: bool = False,
    limit: ScoringLimit = UNLIMITED,
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
        limit: Memory limit of the passes.

    Raises:
        OutOfMemory: The image needs more memory than the limit.
        ImageError: The image cannot be read, is too small, is not of a kind that the model was trained on, or has no
            pixels.
        CheckpointError: The run is of another task.
    """
    config, sequence = checkpoint.config, sequence_of(checkpoint.config)
    if (reason := config.preprocessing.mismatch(image.info)) is not None:
        raise ImageError(image.path, reason)
    # A model with a table of positions takes images of one size only.
    one_size = checkpoint.model.config.latent_positions != "coordinates"
    size = sequence.size if one_size or not whole else None
    parts = scored_parts(image, size, sequence.size if one_size else sequence.patch)
    execution = limit.execution(checkpoint, image, size, runtime, _scoring(sequence, checkpoint.model))
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
        total += _sequence_bits(
            checkpoint.model, sequence, next_ids, present, levels.shape[:2], runtime, label, execution
        )
        dimensions += next_ids.numel() if present is None else int(present.sum())
    if not dimensions:
        raise ImageError(image.path, NO_PIXELS)
    return Bits(total, dimensions)


def _scoring(sequence: SequenceConfig, model: FITDecoder) -> Scoring:
    return Scoring(
        group_pixels=sequence.patch[0],
        value_bytes=ID_BYTES,
        values=1,
        # `Work` counts the values of a sampler.
        output_values=-(-LOGIT_VALUES * model.config.vocabulary // SAMPLER_VALUES),
        pixel_bytes=LEVELS_BYTES,
    )


def _sequence_bits(
    model: FITDecoder,
    sequence: SequenceConfig,
    next_ids: Tensor,
    present: Tensor | None,
    size: tuple[int, ...],
    runtime: Runtime,
    label: int | None,
    execution: tuple[int, StoreKind],
) -> float:
    """Return the bits of one window, from its levels [g n], those of them that count, and its (height, width).

    `execution` is the groups of a handful and the store for tokens.
    """
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

        groups, how = sequence.groups((size[0], size[1])), Streaming(handful=handful, store=execution[1])
        with runtime.autocast():
            stream_decoder(model, groups, lambda part: ids[part], add, how, labels)
        return sum(nats / math.log(2) for (nats,) in read_together(sums))

    return with_less(runtime.device, bits, min(len(ids), execution[0]))
