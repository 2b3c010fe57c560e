"""The pass of `fit classify`, `fit embed` and validation over a sample image, to be estimated or measured."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from fitcli.memory.samples import SampleImage, StepInput
from fitcli.patches.sample_pixels import as_pixels
from fitcli.streaming.sweeps import PassOutputs, Streaming
from fitcli.tasks.encoding.stream import stream_encoder
from models.config import ClassifierConfig
from models.piecewise_latents import pool_piecewise

TYPICAL_CLASSES, MOST_TYPICAL_CLASSES = 1000, 2000
"""Number of classes for which there is a table of memory, and up to how many classes a model takes about as much."""


class EncodingSample:
    """The pass of an encoder with its head; see `Task` for its members."""

    name = "encoding"
    casts_weights_ahead = True
    returns_reads = True

    def typical_config(self, config: ClassifierConfig) -> ClassifierConfig:
        """Return a config whose step takes the same memory beside the weights, with a usual number of classes."""
        if config.targets or config.classes > MOST_TYPICAL_CLASSES:
            return config
        return replace(config, classes=TYPICAL_CLASSES)

    def step_input(self, config: ClassifierConfig) -> StepInput:
        """Return the input of one group."""
        return StepInput((config.tokens, config.values), torch.uint8, 256)

    def sample_pass(self, model: Any, image: SampleImage, how: Streaming | None) -> None:
        """Run the pass; see `SamplePass`."""
        groups = image.groups.to(image.device)
        if how is None:
            model(as_pixels(image.inputs.to(image.device)), groups)
            return
        outputs = PassOutputs(reads=(lambda part, values: None) if image.keep_reads else None)
        latents = stream_encoder(model.encoder, image.groups, lambda part: image.inputs[part], how, outputs, as_pixels)
        pool_piecewise(model.head, latents, groups, how.piece)


ENCODING = EncodingSample()
