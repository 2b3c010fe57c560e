"""The pass of a model with an answer at every place over a sample image, to be estimated or measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch

from fitcli.memory.samples import SampleImage, StepInput
from fitcli.patches.sample_pixels import as_pixels
from fitcli.streaming.sweeps import PassOutputs, Streaming
from fitcli.tasks.encoding.stream import stream_encoder
from models.config import DenseConfig
from models.dense import by_cell


@dataclass(frozen=True, slots=True)
class DenseSample:
    """The pass of an encoder with a head of cells; see `SamplePass` for its members.

    Attributes:
        name: Name of the pass.
        outputs: Values per cell for which there is a table of memory.
        most_outputs: Values per cell up to which a model takes about as much.
        finish: Computes what a pass keeps of the values of cells, for its memory.
    """

    name: str
    outputs: int
    most_outputs: int
    finish: Callable[[torch.Tensor, DenseConfig], None]

    casts_weights_ahead: ClassVar[bool] = True
    returns_reads: ClassVar[bool] = False

    def typical_config(self, config: DenseConfig) -> DenseConfig:
        """Return a config whose step takes about the same memory, with a usual number of classes."""
        return config if config.outputs > self.most_outputs else replace(config, outputs=self.outputs)

    def step_input(self, config: DenseConfig) -> StepInput:
        """Return the input of one group."""
        return StepInput((config.tokens, config.values), torch.uint8, 256)

    def sample_pass(self, model: Any, image: SampleImage, how: Streaming | None) -> None:
        """Run the pass; see `SamplePass`."""
        config: DenseConfig = model.config
        if how is None:
            values = model(as_pixels(image.inputs.to(image.device)), image.groups.to(image.device))
            self.finish(by_cell(values, config.outputs), config)
            return

        def take(part: slice, tokens: torch.Tensor) -> None:
            self.finish(by_cell(model.head(tokens), config.outputs), config)

        stream_encoder(
            model.encoder, image.groups, lambda part: image.inputs[part], how, PassOutputs(tokens=take), as_pixels
        )
