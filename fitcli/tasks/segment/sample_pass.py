"""The pass of `fit segment` and validation over a sample image, to be estimated or measured."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from fitcli.memory.samples import SampleImage, StepInput
from fitcli.patches.sample_pixels import as_pixels
from fitcli.streaming.sweeps import PassOutputs, Streaming
from fitcli.tasks.encoding.stream import stream_encoder
from models.config import DenseConfig
from models.dense import by_cell

TYPICAL_CLASSES, MOST_TYPICAL_CLASSES = 8, 8
"""Number of classes for which there is a table of memory, and up to how many classes a model takes about as much."""


class SegmentingSample:
    """The pass of an encoder with a head of cells; see `Task` for its members."""

    name = "segmenting"
    casts_weights_ahead = True
    returns_reads = False

    def typical_config(self, config: DenseConfig) -> DenseConfig:
        """Return a config whose step takes about the same memory, with a usual number of classes."""
        if config.outputs > MOST_TYPICAL_CLASSES:
            return config
        return replace(config, outputs=TYPICAL_CLASSES)

    def step_input(self, config: DenseConfig) -> StepInput:
        """Return the input of one group."""
        return StepInput((config.tokens, config.values), torch.uint8, 256)

    def sample_pass(self, model: Any, image: SampleImage, how: Streaming | None) -> None:
        """Run the pass; see `SamplePass`."""
        outputs = model.config.outputs
        if how is None:
            by_cell(model(as_pixels(image.inputs.to(image.device)), image.groups.to(image.device)), outputs).argmax(-1)
            return

        def take(part: slice, tokens: torch.Tensor) -> None:
            by_cell(model.head(tokens), outputs).argmax(dim=-1).to(torch.uint8)

        stream_encoder(
            model.encoder, image.groups, lambda part: image.inputs[part], how, PassOutputs(tokens=take), as_pixels
        )


SEGMENTING = SegmentingSample()
