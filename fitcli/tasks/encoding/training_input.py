"""What a training step of a model with an encoder computes from its batch: normalised patches, and layers to skip."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from fitcli.data.batch import Batch
from fitcli.execution.drop_path import DropPath, draw_drop_path
from fitcli.patches.cutting import normalize
from models.encoder import FITEncoder
from models.real_tokens import RealTokens


def augmented_patches(batch: Batch, mean: Tensor, std: Tensor) -> Callable[[slice, RealTokens], Tensor]:
    """Return a function that packs, normalises and augments the patches of some groups of a batch.

    The step keeps only the bytes of the pixels, and normalises them each time it embeds them.

    Args:
        batch: The batch, with the gain and the shift of the brightness of each group.
        mean, std: Statistics of the training pixels [channels], on the device of the model.
    """

    def patches(part: slice, real: RealTokens) -> Tensor:
        values = normalize(real.pack(batch.part(part)), mean, std)
        return values * real.per_token(batch.gain[part]) + real.per_token(batch.shift[part])

    return patches


def layers_to_skip(encoder: FITEncoder, batch: Batch, rate: float, seed: int) -> DropPath | None:
    """Draw the layers of an encoder that each image of a batch skips, see `draw_drop_path`; None with a rate of 0."""
    return draw_drop_path(encoder.trunk, batch.groups, batch.showings, rate, seed) if rate else None
