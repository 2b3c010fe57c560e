"""Spreads the pooling weights and the contributions of latents over the patches that they read.

An even pool has to give an even map. All groups have equally many latents. A group at the lower or right edge of an
image may hold a few patches, or the visible part of one, and each of them would get the weight of many patches
elsewhere. So evidence is a density: how many times the even share of a patch's area its latents weigh. With an even
pool and even attention it is 1 everywhere.

Contributions are sums: they are drawn as a density, but kept as they are, so that they add up to the logit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fitcli.patches.grid import PatchGrid
from fitcli.streaming.token_store import TokenStore


def spread(
    weights: Tensor, reads: TokenStore, grid: PatchGrid, places: Sequence[tuple[int, int]], handful: int
) -> NDArray[np.float32]:
    """Return the share of each patch in the decision [g n], with sum 1.

    The share is the density times the visible area of the patch. The density is the sum over the latents of pooling
    weight times attention, times the number of patches of the group: the mean of attention is one over that number.

    Args:
        weights: Pooling weights of the latents [g m].
        reads: Attention weights [g m n] with which the latents read the patches of their group; 0 for padding.
        grid: Groups and patches over the image.
        places: (row, column) of the groups.
        handful: Number of groups that are computed together.
    """
    shares = np.empty((len(places), grid.group**2), np.float32)
    for start in range(0, len(places), handful):
        part = slice(start, min(start + handful, len(places)))
        areas = patch_areas(grid, places[part])
        # The caller may have enabled autocast, whose results in bfloat16 numpy cannot hold.
        with torch.autocast("cpu", enabled=False):
            weighed = torch.einsum("gm,gmn->gn", weights[part], reads.get(part)).numpy()
        shares[part] = weighed * areas * np.count_nonzero(areas, axis=-1)[:, None]
    shares /= shares.sum(dtype=np.float64)
    return shares


def spread_contributions(values: Tensor, reads: TokenStore, handful: int) -> NDArray[np.float32]:
    """Return the contribution of each patch to the logit of each class [k g n]; sums over the patches stay the same.

    Args:
        values: Contributions of the latents [g m k].
        reads: Attention weights [g m n] with which the latents read the patches of their group; 0 for padding.
        handful: Number of groups that are computed together.
    """
    result: NDArray[np.float32] | None = None
    for start in range(0, len(values), handful):
        part = slice(start, min(start + handful, len(values)))
        with torch.autocast("cpu", enabled=False):
            weights = reads.get(part)
            # Rounding in half precision must not change the sum.
            weights /= weights.sum(dim=-1, keepdim=True)
            spread_out = torch.einsum("gmk,gmn->kgn", values[part].to(weights.dtype), weights).numpy()
        if result is None:
            result = np.empty((values.shape[2], len(values), spread_out.shape[2]), np.float32)
        result[:, part] = spread_out
    assert result is not None
    return result


def patch_areas(grid: PatchGrid, places: Sequence[tuple[int, int]]) -> NDArray[np.float32]:
    """Return the visible area of the patches of some groups [g n], as a share of a whole patch; 0 for padding."""
    rows, columns = np.array(places, np.int64).reshape(-1, 2).T
    heights, widths = (sides.reshape(-1, grid.group) for sides in visible_sides(grid))
    areas: NDArray[Any] = heights[rows][:, :, None] * widths[columns][:, None, :]
    return np.asarray(areas.reshape(len(places), -1), np.float32)


def visible_sides(grid: PatchGrid) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the visible height of each row of patches and the visible width of each column, as shares of a patch."""
    rows, columns = (
        np.clip(side / grid.patch - np.arange(count * grid.group), 0, 1).astype(np.float32)
        for side, count in zip(grid.size, (grid.rows, grid.columns), strict=True)
    )
    return rows, columns
