"""Encodes some or all groups of an open image, a handful at a time: what every process of a pass does."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from fitcli.device.runtime import Runtime
from fitcli.images.base import ImageReader
from fitcli.patches.cutting import normalize, read_patches, statistics
from fitcli.patches.grid import PatchGrid
from fitcli.runs.weights import Checkpoint
from fitcli.streaming.sweeps import Load, PassOutputs, Streaming
from fitcli.tasks.encoding.stream import stream_encoder
from models.dense import FITDense
from models.encoder import FITClassifier
from models.groups import Groups

EncodingModel = FITClassifier | FITDense
"""A model with an encoder, `model.encoder`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupEncoder:
    """A model and the image that it encodes.

    Attributes:
        checkpoint: The model and its preprocessing.
        image: The open image.
        runtime: Device and precision.
        grid: Groups and patches over the image.
    """

    checkpoint: Checkpoint[EncodingModel]
    image: ImageReader
    runtime: Runtime
    grid: PatchGrid

    def encode(self, places: list[tuple[int, int]], groups: Groups, how: Streaming, outputs: PassOutputs) -> Tensor:
        """Return the normalised latents [g m d] of groups, on the device.

        Args:
            places: (row, column) of the groups.
            groups: The same groups, as the model takes them: all of the image, or the share of this process.
            how: Settings of the pass.
            outputs: Further results of the pass.
        """
        mean, std = statistics(self.checkpoint.config.preprocessing, self.runtime.device)
        with self.runtime.autocast():
            return stream_encoder(
                self.checkpoint.model.encoder,
                groups,
                self.reading(places),
                how,
                outputs,
                lambda patches: normalize(patches, mean, std),
            )

    def reading(self, places: list[tuple[int, int]]) -> Load:
        """Return what reads the patches [part n p] of groups, in the dtype of the training images.

        Bytes are smaller to copy than floats.
        """
        preprocessing, info = self.checkpoint.config.preprocessing, self.image.info
        return lambda part: read_patches(self.image, self.grid, places[part], lambda p: preprocessing.convert(p, info))
