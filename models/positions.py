"""Compute position codes: sinusoidal codes of coordinates, and learned tables.

Sinusoidal codes are computed in float32, in a fixed order of operations, so that they never depend on the dtype of the
model.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from models.config import TrunkConfig
from models.groups import Groups
from models.real_tokens import WHOLE_GROUPS, RealTokens

REFERENCE_RANGE = 1000.0
"""Largest coordinate in the fixed tables of the reference, which spread their positions over 0 to 1000."""


def spread(count: int, maximum: float | None, device: torch.device | None = None) -> Tensor:
    """Return the coordinates [count] of equally spaced positions from 0 to `maximum`; 0, 1, 2, ... if it is None.

    A single position has coordinate 0 (NaN in the reference).
    """
    positions = torch.arange(count, dtype=torch.float32, device=device)
    return positions if maximum is None else positions / max(count - 1, 1) * maximum


def sincos(coordinates: Tensor, width: int) -> Tensor:
    """Return the sinusoidal code of coordinates: all sines, then all cosines (Vaswani et al. 2017, section 3.5).

    Args:
        coordinates: [...], any real values.
        width: Width of the code; an odd width has one more sine than cosine.

    Returns:
        Codes [... width] float32.
    """
    sines = (width + 1) // 2
    exponents = 2 * torch.arange(sines, dtype=torch.float32, device=coordinates.device) / width
    angles = coordinates.float()[..., None] * (1 / torch.pow(10000.0, exponents))
    return torch.cat([angles.sin(), angles[..., : width // 2].cos()], dim=-1)


def sincos2d(rows: Tensor, columns: Tensor, width: int) -> Tensor:
    """Return the code of positions in the plane: the code of the row, then of the column, each `width` / 2 wide.

    Args:
        rows, columns: [...], any real values.
        width: Width of the code, even.

    Returns:
        Codes [... width] float32.
    """
    return torch.cat([sincos(rows, width // 2), sincos(columns, width // 2)], dim=-1)


def sincos_grid(rows: int, columns: int, width: int, maximum: float | None, device: torch.device) -> Tensor:
    """Return the codes [rows columns width] of a grid; the coordinates of each axis are `spread(..., maximum)`."""
    row, column = torch.meshgrid(spread(rows, maximum, device), spread(columns, maximum, device), indexing="ij")
    return sincos2d(row, column, width)


class TokenPositions(nn.Module):
    """Position codes [n c] of the tokens in a group, the same for every group."""

    def __init__(self, config: TrunkConfig) -> None:
        super().__init__()
        self.kind, self.tokens, self.width = config.token_positions, config.tokens, config.token_width
        self.table = nn.Parameter(torch.empty(self.tokens, self.width)) if self.kind == "learned" else None

    def forward(self, like: Tensor, real: RealTokens = WHOLE_GROUPS) -> Tensor:
        """Return the codes, in the dtype and on the device of `like`: [n c], or in a form that fits packed tokens."""
        return real.codes(self._codes(like))

    def _codes(self, like: Tensor) -> Tensor:
        if self.table is not None:
            return self.table.to(like.dtype)
        if self.kind == "sincos":
            code = sincos(spread(self.tokens, REFERENCE_RANGE, like.device), self.width)
        else:
            side = round(self.tokens**0.5)
            code = sincos_grid(side, side, self.width, REFERENCE_RANGE, like.device).flatten(0, 1)
        return code.to(like.dtype)


class LatentStart(nn.Module):
    """The latents before the first segment [g m d]. They depend on the position of the group, not on its content.

    Kind "coordinates" adds the sinusoidal code of row and column of the group to a learned vector per latent. It works
    for any image size. Kinds "learned" and "sincos" are those of the reference: a table with a row per group and
    latent, for a fixed number of groups.
    """

    def __init__(self, config: TrunkConfig) -> None:
        super().__init__()
        self.kind, self.latents, self.width = config.latent_positions, config.latents, config.latent_width
        self.groups = config.groups or 0
        rows = {"learned": self.groups * self.latents, "coordinates": self.latents}.get(self.kind)
        self.table = None if rows is None else nn.Parameter(torch.empty(rows, self.width))

    def forward(self, groups: Groups, like: Tensor) -> Tensor:
        """Return the latents [g m d] in the dtype and on the device of `like`.

        Raises:
            ValueError: An image has more groups than the table.
        """
        if self.kind == "coordinates":
            assert self.table is not None
            codes = sincos2d(groups.coordinates[:, 0], groups.coordinates[:, 1], self.width)
            return codes[:, None].to(like.dtype) + self.table.to(like.dtype)  # [g 1 d] + [m d]
        if groups.whole.longest > self.groups:
            raise ValueError(f"positions for {self.groups} groups are too few for an image of {groups.whole.longest}")
        table = self._fixed(like.device) if self.table is None else self.table
        return rearrange(table.to(like.dtype), "(g m) d -> g m d", m=self.latents)[groups.number]

    def _fixed(self, device: torch.device) -> Tensor:
        if self.groups > 1 and self.latents > 1:
            return sincos_grid(self.groups, self.latents, self.width, REFERENCE_RANGE, device).flatten(0, 1)
        return sincos(spread(self.groups * self.latents, REFERENCE_RANGE, device), self.width)
