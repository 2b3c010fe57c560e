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
    """Copy groups to a device; their mask stays in host memory."""
    return groups.map_tensors(partial(to_device, device=device))
