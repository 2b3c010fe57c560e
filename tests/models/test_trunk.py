"""Test the trunk against plain loops over images and groups, without padding."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.batches import (
    decoder_config,
    denoiser_config,
    encoder_config,
    inputs_for,
    live,
    whole_and_ragged,
)
from torch import Tensor

from models.groups import Groups
from models.masks import causal_mask, group_causal_mask
from models.trunk import Trunk

CONFIGS = {
    "plain": encoder_config(),
    "ends with local layers": encoder_config(plan="(1)2(0)1(2)"),
    "local layers alone": encoder_config(plan="(2)"),
    "causal groups": encoder_config(causal="groups", latents=3),
    "feed-forward locals": encoder_config(local_attention=False, cross_mlp=True, cross_norm=False),
    "causal tokens": decoder_config(),
    "conditioned": denoiser_config(cross_mlp=True),
    "conditioned causal groups": denoiser_config(causal="groups", cross_norm=False),
}


@pytest.mark.parametrize("groups", whole_and_ragged(), ids=["whole", "ragged"])
@pytest.mark.parametrize("name", CONFIGS)
def test_trunk_equals_plain_loops(name: str, groups: Groups) -> None:
    config = CONFIGS[name]
    model = live(config)
    generator = torch.Generator().manual_seed(3)
    tokens = torch.randn(len(groups.number), 4, config.token_width, generator=generator).double()
    latents = torch.randn(len(groups.number), config.latents, config.latent_width, generator=generator).double()
    context = None
    if name.startswith("conditioned"):
        context = torch.randn(groups.images, 3, config.latent_width, generator=generator).double()
    real = groups.real_tokens()
    packed, result_latents = model.trunk(real.pack(tokens), latents, groups, real, context)
    result_tokens = real.unpack(packed)
    mask = torch.ones(tokens.shape[:2]).bool() if groups.mask is None else groups.mask
    start = 0
    for image, count in enumerate(groups.counts()):
        stop = start + count
        lists = [x[keep] for x, keep in zip(tokens[start:stop], mask[start:stop], strict=True)]
        own = None if context is None else context[image : image + 1]
        expected = loop_over_groups(model.trunk, config, lists, list(latents[start:stop]), own)
        for group in range(count):
            index = start + group
            assert (result_tokens[index][mask[index]] - expected[0][group]).abs().max() < 1e-9
            assert (result_latents[index] - expected[1][group]).abs().max() < 1e-9
        start = stop


def loop_over_groups(
    trunk: Trunk, config: Any, tokens: list[Tensor], latents: list[Tensor], context: Tensor | None
) -> tuple[list[Tensor], list[Tensor]]:
    """Run the trunk for one image, from lists with the tokens [n c] and the latents [m d] of each group.

    The tokens contain no padding.
    """
    for segment in trunk.segments:
        tokens = [_local(segment, x, config.causal == "tokens") for x in tokens]
        if segment.read is None:
            continue
        latents = [segment.read(z[None], x[None])[0] for z, x in zip(latents, tokens, strict=True)]
        mixed = torch.cat(latents)[None]  # [1 (g m) d]
        if context is not None:
            mixed = segment.mix.condition(mixed, context)
        seen = None if config.causal == "none" else group_causal_mask(mixed.shape[1], config.latents)
        for layer in segment.mix.stack:
            mixed = layer(mixed, seen)
        latents = list(mixed[0].split(config.latents))
        if segment.write is not None:
            read = latents if config.causal != "tokens" else [torch.zeros_like(latents[0]), *latents[:-1]]
            tokens = [segment.write(x[None], z[None])[0] for x, z in zip(tokens, read, strict=True)]
    return tokens, latents


def _local(segment: Any, tokens: Tensor, causal: bool) -> Tensor:
    for layer in segment.local:
        tokens = layer(tokens[None], causal_mask(len(tokens)) if causal else None)[0]
    return tokens


def test_one_segment_cannot_write_to_its_tokens() -> None:
    """Tokens see other groups only in the next segment, so that the groups stay apart here."""
    groups = Groups.of_grid(images=1, rows=1, columns=2)
    model = live(encoder_config(plan="(1)2"))
    patches = inputs_for(model.config, groups)[0]
    changed = patches.clone()
    changed[1] += 1
    one, other = model(patches, groups), model(changed, groups)
    assert torch.equal(one.tokens[0], other.tokens[0])
    assert not torch.equal(one.latents[0], other.latents[0])


def test_latents_of_later_groups_are_hidden_from_earlier_ones() -> None:
    groups = Groups.of_grid(images=1, rows=1, columns=3)
    model = live(encoder_config(causal="groups"))
    patches = inputs_for(model.config, groups)[0]
    changed = patches.clone()
    changed[1] += 1
    one, other = model(patches, groups).latents, model(changed, groups).latents
    assert torch.equal(one[0], other[0])
    assert (one[1:] - other[1:]).abs().amax(dim=(1, 2)).min() > 1e-6
