"""Test that every model compiles as one graph and exports at a fixed size, for images of whole groups.

The shapes of groups at edges follow from the values of their mask, so that they are no part of a graph.

The compilation of single regions is tested in `tests/device/test_compilation.py`, with the drivers that call them.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.batches import CONFIGS, inputs_for, live, whole_and_ragged
from torch import Tensor

from models.config import DenoiserConfig
from models.groups import Groups

WHOLE = whole_and_ragged()[0]

KINDS = ["encoder", "classifier", "denoiser", "decoder"]


@pytest.mark.walk(1)
@pytest.mark.parametrize("name", KINDS)
def test_model_compiles_as_one_graph(name: str) -> None:
    torch.compiler.reset()
    model = live(CONFIGS[name])
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    arguments = _arguments(CONFIGS[name], WHOLE)
    _assert_same(compiled(*arguments), model(*arguments))


@pytest.mark.walk(3)
@pytest.mark.parametrize("name", CONFIGS)
def test_model_exports_at_a_fixed_size(name: str) -> None:
    model = live(CONFIGS[name])
    exported = torch.export.export(model, _arguments(CONFIGS[name], WHOLE)).module()
    # Other values of the same shapes show that the graph holds no value of the example.
    arguments = _arguments(CONFIGS[name], WHOLE, seed=1)
    _assert_same(exported(*arguments), model(*arguments))


def _arguments(config: Any, groups: Groups, seed: int = 0) -> tuple[Any, ...]:
    inputs = inputs_for(config, groups, seed)
    if isinstance(config, DenoiserConfig):
        patches, previous, level, condition = inputs
        return patches, groups, level, condition, previous
    return inputs[0], groups, *inputs[1:]


def _assert_same(value: Tensor | tuple[Tensor, ...], expected: Tensor | tuple[Tensor, ...]) -> None:
    if isinstance(value, Tensor):
        value, expected = (value,), (expected,)
    for one, other in zip(value, expected, strict=True):
        assert (one - other).abs().max().item() < 1e-12
