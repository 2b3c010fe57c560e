"""The groups go to the device, and their mask stays in host memory."""

from __future__ import annotations

import torch
from support.streamed import LAYOUTS

from fitcli.streaming.device_inputs import groups_on_device, no_values

META = torch.device("meta")
"""Stands for a device that is not the host."""


def test_the_mask_stays_in_host_memory() -> None:
    groups = LAYOUTS["padded"]
    assert groups.mask is not None
    here, there = groups_on_device(groups, torch.device("cpu")), groups_on_device(groups, META)
    assert torch.equal(here.coordinates, groups.coordinates)
    assert torch.equal(here.number, groups.number)
    assert here.mask is groups.mask
    assert there.mask is groups.mask
    assert (there.coordinates.device, there.number.device) == (META, META)


def test_no_values_are_like_the_weights() -> None:
    layer = torch.nn.Linear(3, 2, device="meta", dtype=torch.float64)
    like = no_values(layer)
    assert (like.shape, like.device, like.dtype, like.requires_grad) == ((0,), META, torch.float64, False)
