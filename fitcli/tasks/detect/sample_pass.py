"""The pass of `fit detect` and validation over a sample image, to be estimated or measured."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from fitcli.memory.samples import SampleImage, StepInput
from fitcli.patches.grid import PatchGrid
from fitcli.patches.sample_pixels import as_pixels
from fitcli.streaming.sweeps import PassOutputs, Streaming
from fitcli.tasks.detect.candidates import CandidateFinder, most_candidates
from fitcli.tasks.detect.cell_layout import CellLayout
from fitcli.tasks.detect.config import SIDES
from fitcli.tasks.encoding.stream import stream_encoder
from models.config import DenseConfig
from models.dense import by_cell

TYPICAL_CLASSES, MOST_TYPICAL_CLASSES = 4, 8
"""Number of classes for which there is a table of memory, and up to how many classes a model takes about as much."""


class DetectingSample:
    """The pass of an encoder with a head of cells; see `Task` for its members."""

    name = "detecting"
    casts_weights_ahead = True
    returns_reads = False

    def typical_config(self, config: DenseConfig) -> DenseConfig:
        """Return a config whose step takes about the same memory, with a usual number of classes."""
        if config.outputs > MOST_TYPICAL_CLASSES + SIDES:
            return config
        return replace(config, outputs=TYPICAL_CLASSES + SIDES)

    def step_input(self, config: DenseConfig) -> StepInput:
        """Return the input of one group."""
        return StepInput((config.tokens, config.values), torch.uint8, 256)

    def sample_pass(self, model: Any, image: SampleImage, how: Streaming | None) -> None:
        """Run the pass; see `SamplePass`."""
        config: DenseConfig = model.config
        if how is None:
            _scores(by_cell(model(as_pixels(image.inputs.to(image.device)), image.groups.to(image.device)),
                            config.outputs), config)  # fmt: skip
            return

        def take(part: slice, tokens: torch.Tensor) -> None:
            _scores(by_cell(model.head(tokens), config.outputs), config)

        stream_encoder(
            model.encoder, image.groups, lambda part: image.inputs[part], how, PassOutputs(tokens=take), as_pixels
        )


def _scores(values: torch.Tensor, config: DenseConfig) -> None:
    """Compute the maps of the heat and make room for candidates, which takes the memory of what follows the head."""
    finder = CandidateFinder(CellLayout.of(config), max(1, config.outputs - SIDES), 1.0)
    side = config.patch * config.group
    finder.maps(values, [(0, 0)] * len(values), PatchGrid((side, side), config.patch, config.group))
    values.new_zeros(len(values), most_candidates(finder.layout.side), finder.columns, dtype=torch.float32)


DETECTING = DetectingSample()
