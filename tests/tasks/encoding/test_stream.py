"""A streamed encoder equals its forward pass for every handful."""

from __future__ import annotations

import pytest
import torch
from support.streamed import encoder, inputs

from fitcli.patches.cutting import groups_of
from fitcli.tasks.encoding.stream import stream_latents


@pytest.mark.walk
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


def test_a_plan_whose_latents_miss_the_last_layers_is_refused() -> None:
    model, (grid, patches) = encoder("(1)1(1)"), inputs((48, 36))
    with pytest.raises(ValueError, match="ends with local layers"):
        stream_latents(model, groups_of(grid), lambda part: patches[part], 2)
