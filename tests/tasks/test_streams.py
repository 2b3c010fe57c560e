"""The streamed pass of every model equals its forward pass for every handful."""

from __future__ import annotations

import pytest
import torch
from support.batches import CONFIGS, inputs_for
from support.streamed import LAYOUTS, NETWORKS, golden, made, run_on_all, streamed

from fitcli.streaming.sweeps import Streaming


@pytest.mark.walk
@torch.inference_mode()
@pytest.mark.parametrize("handful", [1, 2, 100])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", CONFIGS)
def test_every_model_gives_what_its_forward_pass_gives(name: str, layout: str, handful: int) -> None:
    (model, config), groups = made(name, torch.float64), LAYOUTS[layout]
    inputs = inputs_for(config, groups)
    how = Streaming(handful=handful)
    for one, other in zip(streamed(model, groups, inputs, how), run_on_all(model, groups, inputs), strict=True):
        assert one.shape == other.shape
        assert (one - other).abs().max() < 1e-9


@torch.inference_mode()
@pytest.mark.parametrize("name", CONFIGS)
def test_every_model_in_float32(name: str) -> None:
    (model, config), groups = made(name, torch.float32), LAYOUTS["padded"]
    inputs = inputs_for(config, groups, dtype=torch.float32)
    parts, wholes = streamed(model, groups, inputs, Streaming(handful=2)), run_on_all(model, groups, inputs)
    for one, other in zip(parts, wholes, strict=True):
        assert (one - other).abs().max() < 1e-5 * other.abs().max()


@torch.inference_mode()
@pytest.mark.parametrize("name", CONFIGS)
def test_one_handful_gives_the_bits_of_the_forward_pass(name: str) -> None:
    (model, config), groups = made(name, torch.float32), LAYOUTS["padded"]
    inputs = inputs_for(config, groups, dtype=torch.float32)
    parts, wholes = streamed(model, groups, inputs, Streaming(handful=100)), run_on_all(model, groups, inputs)
    assert all(torch.equal(one, other) for one, other in zip(parts, wholes, strict=True))


@torch.inference_mode()
@pytest.mark.parametrize("handful", [1, 3])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_the_reference(name: str, handful: int) -> None:
    model, groups, inputs = golden(name)
    parts, wholes = streamed(model, groups, inputs, Streaming(handful=handful)), run_on_all(model, groups, inputs)
    for one, other in zip(parts, wholes, strict=True):
        assert (one - other).abs().max() < 1e-9


@torch.inference_mode()
@pytest.mark.parametrize("name", CONFIGS)
def test_many_latents_are_mixed_in_pieces(name: str) -> None:
    (model, config), groups = made(name, torch.float64), LAYOUTS["padded"]
    inputs = inputs_for(config, groups)
    parts = streamed(model, groups, inputs, Streaming(handful=2, piece=5))
    for one, other in zip(parts, run_on_all(model, groups, inputs), strict=True):
        assert (one - other).abs().max() < 1e-9
