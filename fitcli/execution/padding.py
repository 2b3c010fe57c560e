"""Keeps padding out of a loss, a slice of the groups at a time."""

from __future__ import annotations

from torch import Tensor

from models.groups import Groups


def part_mask(groups: Groups, part: slice) -> Tensor | None:
    """Return the mask [part n] of a slice of the groups: True for real patches; None if the groups have no mask."""
    return None if groups.mask is None else groups.mask[part]


def zero_padding(values: Tensor, mask: Tensor | None) -> Tensor:
    """Return values [part n ...] with zeros in place of padding.

    Apply it before a square or a logarithm: the gradient of a padded NaN would be NaN even if its loss were masked.
    """
    return values if mask is None else values.masked_fill(~mask.reshape(*mask.shape, *[1] * (values.ndim - 2)), 0)
