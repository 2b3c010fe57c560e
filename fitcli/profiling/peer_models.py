"""The peers that are measured: a ViT of the layers in `models`, and the Swin of timm if it is installed."""

from __future__ import annotations

import importlib.util
from typing import cast

import torch
from torch import Tensor, nn

from fitcli.errors import FitError
from fitcli.execution.recompute import recompute
from fitcli.profiling.peers import HEAD_WIDTH, SWIN_WINDOW, Peer
from models.layers import Stack, direct, layer_norm

MLP_RATIO = 4
"""Width of the hidden layer of a ViT's MLP, relative to the width of its layers."""


def can_build(peer: Peer) -> bool:
    """Return whether a peer can be measured on this machine."""
    return peer == "vit" or importlib.util.find_spec("timm") is not None


class ViT(nn.Module):
    """A plain vision transformer (Dosovitskiy et al. 2021, arXiv:2010.11929) that returns the mean token.

    Args:
        values: Values per patch.
        width, depth: Width and number of the layers.
        checkpointed: Whether every layer is recomputed in the backward pass.
    """

    def __init__(self, values: int, width: int, depth: int, checkpointed: bool) -> None:
        super().__init__()
        self.project = nn.Linear(values, width)
        self.stack = Stack(depth, width, width // HEAD_WIDTH, MLP_RATIO)
        self.norm = layer_norm(width)
        self.call = recompute if checkpointed else direct

    def forward(self, patches: Tensor) -> Tensor:
        """Compute [b width] from patches [b t values], without positions, which cost nothing."""
        tokens = self.project(patches).float()
        return cast(Tensor, self.norm(self.stack(tokens, None, False, self.call)).mean(dim=1))


class Swin(nn.Module):
    """Swin-T of timm, with windows of 8 x 8 patches.

    Args:
        side: Side of the image in pixels.
        checkpointed: Whether every layer is recomputed in the backward pass.
    """

    def __init__(self, side: int, checkpointed: bool) -> None:
        super().__init__()
        import timm

        name = "swin_tiny_patch4_window7_224"
        self.model: nn.Module = timm.create_model(name, img_size=side, window_size=SWIN_WINDOW, num_classes=0)
        self.model.set_grad_checkpointing(checkpointed)

    def forward(self, pixels: Tensor) -> Tensor:
        """Compute [b width] from pixels [b 3 side side]."""
        return cast(Tensor, self.model(pixels))


def build_peer(
    peer: Peer,
    side: int,
    values: int,
    width: int,
    depth: int,
    checkpointed: bool,
    device: torch.device | str = "meta",
) -> tuple[nn.Module, tuple[int, ...]]:
    """Return a peer, and the shape of an image, or of a patch of a ViT, in float32.

    Args:
        peer: Name of the peer.
        side: Side of the images of a Swin in pixels.
        values: Values per patch of a ViT.
        width, depth: Width and number of the layers of a ViT.
        checkpointed: Whether every layer is recomputed in the backward pass.
        device: Device of the model.

    Raises:
        FitError: The peer is not installed.
    """
    if not can_build(peer):
        raise FitError(f"--compare {peer} needs timm; install it with: pip install 'fitcli[bench]'")
    with torch.device(device):
        if peer == "vit":
            return ViT(values, width, depth, checkpointed), (values,)
        return Swin(side, checkpointed), (3, side, side)
