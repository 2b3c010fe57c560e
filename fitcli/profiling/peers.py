"""The models that FIT is compared with: a plain ViT and a Swin transformer.

Both use flash attention, which keeps no scores. So a ViT has linear memory, too; it needs more operations.
"""

from __future__ import annotations

from typing import Literal, cast, get_args

from fitcli.errors import FitError
from fitcli.memory.estimate import Training, parameter_count
from models.config import EncoderConfig, TrunkConfig

Peer = Literal["vit", "swin"]

HEAD_WIDTH = 64
"""Width of the heads of a ViT."""

SWIN_WINDOW = 8
"""Patches per side of a window of Swin-T (Liu et al. 2021, arXiv:2103.14030, section 3.3), there 7."""

SWIN_SQUARE = 256
"""Side in pixels of the squares that an image is made of: one window of the last stage."""

SWIN_WEIGHTS = 27_527_082
"""Parameters of Swin-T without a head."""


def parse_peers(text: str | None, task: str, config: TrunkConfig) -> list[Peer]:
    """Parse the names of peers, separated by commas.

    Raises:
        FitError: A name is unknown, or the model of the task is no encoder, as the peers are.
    """
    names = [name.strip() for name in (text or "").split(",") if name.strip()]
    if unknown := [name for name in names if name not in get_args(Peer)]:
        raise FitError(f"--compare takes {' and '.join(get_args(Peer))}, not {unknown[0]!r}; correct the name")
    if names and not isinstance(config, EncoderConfig):
        raise FitError(f"--compare is for encoders, not for {task}; leave it out")
    return cast(list[Peer], names)


def vit_sizes(work: Training) -> tuple[int, int]:
    """Return (width, layers) of a ViT that is as wide as the latents and has about as many parameters."""
    width = work.config.latent_width
    return width, max(1, round(parameter_count(work.config) / (12 * width**2)))
