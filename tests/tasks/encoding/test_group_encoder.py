"""The share of a process is a run of the groups: without others, its latents are those of the forward pass."""

from __future__ import annotations

import torch
from support.dense_models import checkpoint, picture

from fitcli.device.runtime import choose_runtime
from fitcli.images.array_image import ArrayReader
from fitcli.patches.cutting import groups_of, normalize, statistics, to_patches
from fitcli.patches.grid import PatchGrid
from fitcli.streaming.sweeps import PassOutputs, Streaming
from fitcli.tasks.encoding.group_encoder import GroupEncoder


@torch.no_grad()
def test_latents_are_those_of_the_forward_pass() -> None:
    model, pixels, runtime = checkpoint(), picture((40, 50)), choose_runtime("cpu", "fp32")
    config = model.model.config
    grid = PatchGrid((40, 50), config.patch, config.group)
    places = list(grid.coordinates())[3:]
    encoder = GroupEncoder(checkpoint=model, image=ArrayReader(pixels), runtime=runtime, grid=grid)
    found = encoder.encode(places, groups_of(grid, places), Streaming(handful=4), PassOutputs())
    mean, std = statistics(model.config.preprocessing, runtime.device)
    patches = normalize(to_patches(pixels, grid)[3:], mean, std)
    expected = model.model.encoder(patches, groups_of(grid, places)).latents
    assert (found - expected).abs().max() < 1e-9
