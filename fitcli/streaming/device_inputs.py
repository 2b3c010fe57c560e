"""Copies the groups of an image to the device that computes, in the form that a streamed pass needs."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from fitcli.device.transfer import to_device
from models.groups import Groups


def no_values(model: nn.Module) -> Tensor:
    """Return a tensor [0] on the device and in the dtype of the weights. Models create their latents like it."""
    return next(model.parameters()).detach().flatten()[:0]


def groups_on_device(groups: Groups, device: torch.device) -> Groups:
    """Copy groups to a device, without their mask: it grows with the tokens, and goes there a slice at a time."""
    return groups._replace(mask=None).map_tensors(partial(to_device, device=device))


def mask_on_device(groups: Groups, part: slice, device: torch.device) -> Tensor | None:
    """Copy the mask [part n] of a slice of the groups to a device; None if the groups have no mask."""
    return None if groups.mask is None else to_device(groups.mask[part], device)
