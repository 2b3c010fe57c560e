"""Estimates a training step of a peer on the same image, by running the real peer without memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fitcli.device.runtime import Precision
from fitcli.memory.dry_model import dry_model
from fitcli.memory.dry_run import key_of
from fitcli.memory.estimate import FLOAT, Estimate, Training, reserve_bytes
from fitcli.memory.sizes import IMAGE_GROUPS, IMAGES, actual_sizes, dry_sizes, typical_sizes
from fitcli.memory.table import Table
from fitcli.memory.table_store import find_table
from fitcli.profiling.peer_models import build_peer
from fitcli.profiling.peers import SWIN_SQUARE, SWIN_WEIGHTS, Peer, vit_sizes
from models.config import EncoderConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class DryPeer:
    """A training step of a peer to run without memory.

    Attributes:
        peer: Name of the peer.
        values: Values per patch of a ViT.
        width, depth: Width and number of the layers of a ViT.
        checkpointed: Whether every layer is recomputed in the backward pass.
        precision: Precision of matrix products.
    """

    peer: Peer
    values: int
    width: int
    depth: int
    checkpointed: bool
    precision: Precision

    @property
    def has_added_part(self) -> bool:
        """Whether a part of the model is the code of others."""
        return False

    @property
    def key(self) -> str:
        """Text that identifies the step."""
        sizes = [self.values, self.width, self.depth] if self.peer == "vit" else []
        return key_of(["peer", self.peer, *sizes, self.checkpointed, self.precision])

    def table(self) -> Table:
        """Run the step and return its table, whose groups are the patches of a ViT, or squares of `SWIN_SQUARE` pixels.

        Raises:
            FitError: The peer is not installed.
        """
        sizes, square = dry_sizes(IMAGES, handfuls=False), self.peer == "swin"
        images, patches = (IMAGES * IMAGE_GROUPS, 1) if square else (IMAGES, IMAGE_GROUPS)
        model, shape = build_peer(self.peer, SWIN_SQUARE, self.values, self.width, self.depth, self.checkpointed)
        with dry_model(model, self.precision, sizes) as meter:
            with meter.purpose("pixels"):
                inputs = torch.empty(images, *([] if square else [patches]), *shape)
            model(inputs).float().square().mean().backward()
        return Table.of(meter, typical_sizes(handfuls=False, some_kept=False))


def dry_peer(peer: Peer, work: Training, checkpointed: bool) -> DryPeer:
    """Return the step of a peer that is compared with a step of FIT."""
    config, (width, depth) = work.config, vit_sizes(work)
    assert isinstance(config, EncoderConfig)
    return DryPeer(
        peer=peer,
        values=config.values,
        width=width,
        depth=depth,
        checkpointed=checkpointed,
        precision=work.precision,
    )


def estimate_peer(peer: Peer, work: Training, side: int, checkpointed: bool = False) -> Estimate:
    """Estimate a training step of a peer over square images.

    Args:
        peer: Name of the peer.
        work: The step that it is compared with, which determines batch, precision, device and width.
        side: Side of the image in pixels.
        checkpointed: Whether every layer is recomputed in the backward pass.
    """
    config, (width, depth) = work.config, vit_sizes(work)
    assert isinstance(config, EncoderConfig)
    table = find_table(dry_peer(peer, work, checkpointed))
    # Windows of Swin do not see each other before they are merged: a large image takes as much as its squares.
    groups = (side // config.patch) ** 2 if peer == "vit" else round((side / SWIN_SQUARE) ** 2)
    sizes = actual_sizes(work.images, groups, groups)
    weights = FLOAT * (config.values * width + depth * 12 * width**2 if peer == "vit" else SWIN_WEIGHTS)
    at_peak = table.peak(sizes, {"pixels"} | ({"workspace"} if work.device != "cuda" else set())).parts
    pixels = work.images * side**2 * config.channels
    held = {"parameters": weights, "optimizer": 2 * weights, "pixels": pixels}
    held |= {name: size for name, size in at_peak.items() if size}
    return Estimate(
        parts=held, reserve_bytes=reserve_bytes(work.device, held), away_bytes=0, flops=table.operations(sizes)
    )
