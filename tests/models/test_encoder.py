"""Test the side tokens of an encoder."""

from __future__ import annotations

import torch
from support.batches import encoder_config, grid, inputs_for, join, live

from fitcli.patches.cutting import groups_of


def test_side_tokens_come_first_and_are_never_padding() -> None:
    groups = join(groups_of(grid(3, 3)), groups_of(grid(4, 4)))
    config = encoder_config(side_values=5)
    model = live(config)
    patches = inputs_for(config, groups)[0]
    side = torch.randn(2, 3, 5).double()
    out = model(patches, groups, side)
    assert out.tokens.shape == (2, 7, config.token_width)
    changed = model(patches, groups, side + 1)
    assert (out.latents[0] - changed.latents[0]).abs().max() > 1e-6
