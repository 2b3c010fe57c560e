"""The groups go to the device as a whole, and their mask a slice at a time."""

from __future__ import annotations

import torch
from support.streamed import LAYOUTS

from fitcli.streaming.device_inputs import groups_on_device, mask_on_device, no_values

META = torch.device("meta")
"""Stands for a device that is not the host."""


def test_groups_go_without_their_mask() -> None:
    groups = LAYOUTS["padded"]
    assert groups.mask is not None
    here, there = groups_on_device(groups, torch.device("cpu")), groups_on_device(groups, META)
    assert torch.equal(here.coordinates, groups.coordinates)
    assert torch.equal(here.number, groups.number)
    assert here.mask is None
    assert there.mask is None
    assert (there.coordinates.device, there.number.device) == (META, META)


def test_the_mask_goes_a_slice_at_a_time() -> None:
    groups, part = LAYOUTS["padded"], slice(1, 3)
    assert groups.mask is not None
    mask, there = mask_on_device(groups, part, torch.device("cpu")), mask_on_device(groups, part, META)
    assert mask is not None
    assert torch.equal(mask, groups.mask[1:3])
    assert there is not None
    assert (there.device, there.shape) == (META, mask.shape)
    assert mask_on_device(LAYOUTS["whole"], part, META) is None


def test_no_values_are_like_the_weights() -> None:
    layer = torch.nn.Linear(3, 2, device="meta", dtype=torch.float64)
    like = no_values(layer)
    assert (like.shape, like.device, like.dtype, like.requires_grad) == ((0,), META, torch.float64, False)
