"""Streaming gives what the forward passes of the models give, whatever is computed together."""

from __future__ import annotations

import pytest
import torch
from support.batches import CONFIGS, inputs_for, join, live
from support.streamed import LAYOUTS, NETWORKS, encoder, golden, inputs, made, run_on_all, streamed

from fitcli.patches.cutting import groups_of
from fitcli.streaming.sweeps import Streaming
from fitcli.tasks.encoding.stream import stream_latents
from models import piecewise_latents


@torch.inference_mode()
@pytest.mark.parametrize("handful", [1, 2, 5, 100])
@pytest.mark.parametrize("size", [(48, 36), (50, 41), (12, 12), (3, 100)], ids=str)
@pytest.mark.parametrize("plan", ["(2)1", "(1)1(1)2", "(0)1(2)1(1)1"])
def test_equal_to_the_forward_pass(plan: str, size: tuple[int, int], handful: int) -> None:
    model, (grid, patches) = encoder(plan), inputs(size)
    groups = groups_of(grid)
    streamed = stream_latents(model, groups, lambda part: patches[part], handful)
    whole = model(patches, groups).latents
    assert (streamed.latents - whole).abs().max() < 1e-9


@torch.inference_mode()
@pytest.mark.parametrize(
    "changes", [{"causal": "groups"}, {"latent_positions": "learned", "groups": 12}, {"stem": "conv"}]
)
def test_equal_for_every_kind_of_encoder(changes: dict[str, object]) -> None:
    model, (grid, patches) = encoder("(1)1(1)1", **changes), inputs((48, 36))
    groups = groups_of(grid)
    streamed = stream_latents(model, groups, lambda part: patches[part], 5)
    assert (streamed.latents - model(patches, groups).latents).abs().max() < 1e-9


@torch.inference_mode()
def test_equal_in_float32() -> None:
    model, (grid, patches) = encoder("(1)1(1)1").float(), inputs((50, 41))
    groups = groups_of(grid)
    streamed = stream_latents(model, groups, lambda part: patches[part].float(), 3)
    assert (streamed.latents - model(patches.float(), groups).latents).abs().max() < 1e-5


@torch.inference_mode()
def test_reads_are_shares_of_the_patches_that_hold_pixels() -> None:
    model, (grid, patches) = encoder("(1)1(1)1"), inputs((50, 41))
    groups = groups_of(grid)
    reads = stream_latents(model, groups, lambda part: patches[part], 3, keep_reads=True).reads
    assert reads is not None
    assert reads.shape == (grid.count, 2, 9)
    torch.testing.assert_close(reads.sum(-1), torch.ones(grid.count, 2))
    assert groups.mask is not None
    assert reads.masked_select(~groups.mask[:, None, :].expand_as(reads)).abs().max() == 0


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
def test_many_latents_are_mixed_in_pieces(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(piecewise_latents, "PIECE", 5)
    (model, config), groups = made(name, torch.float64), LAYOUTS["padded"]
    inputs = inputs_for(config, groups)
    parts, wholes = streamed(model, groups, inputs, Streaming(handful=2)), run_on_all(model, groups, inputs)
    for one, other in zip(parts, wholes, strict=True):
        assert (one - other).abs().max() < 1e-9


@torch.inference_mode()
@pytest.mark.parametrize("name", ["classifier", "classifier of two targets"])
def test_many_latents_are_pooled_in_pieces(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(piecewise_latents, "PIECE", 5)
    head, groups = live(CONFIGS[name]).head, LAYOUTS["padded"]
    latents = torch.randn(len(groups.number), 2, 24, dtype=torch.float64)
    for one, other in zip(piecewise_latents.pool_piecewise(head, latents, groups), head(latents, groups), strict=True):
        assert (one - other).abs().max() < 1e-12


def test_several_images_are_refused() -> None:
    model, _ = made("encoder", torch.float64)
    groups = join(LAYOUTS["whole"], LAYOUTS["padded"])
    with pytest.raises(ValueError, match="of one image, not of 2"):
        streamed(model, groups, inputs_for(CONFIGS["encoder"], groups), Streaming(handful=2))


def test_a_plan_whose_latents_miss_the_last_layers_is_refused() -> None:
    model, (grid, patches) = encoder("(1)1(1)"), inputs((48, 36))
    with pytest.raises(ValueError, match="ends with local layers"):
        stream_latents(model, groups_of(grid), lambda part: patches[part], 2)
