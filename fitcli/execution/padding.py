"""Keeps padding and missing pixels out of a loss, a slice of the groups at a time."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from fitcli.device.transfer import to_device
from fitcli.execution.job import Part
from models.groups import Groups


class Missing(NamedTuple):
    """The values of a batch that no score counts, because the file has no pixel there.

    Attributes:
        part: Returns which values of a slice of the groups are missing, [part n v] bool.
        present: Number of values of all groups that are neither missing nor padding.
    """

    part: Part
    present: int

    @classmethod
    def of(cls, marks: Tensor, mask: Tensor | None, device: torch.device) -> Missing:
        """Return the missing values that marks in host memory name, a slice at a time on a device.

        Args:
            marks: Which values are missing, [g n p] bool.
            mask: Which patches are no padding, [g n] bool in host memory; None if all are.
            device: Device of the losses.
        """
        present = ~marks if mask is None else ~marks & mask[..., None]
        return cls(lambda part: to_device(marks[part], device), int(present.sum()))

    def zero(self, values: Tensor, part: slice) -> Tensor:
        """Return values [part n v], or [part n * v], of a slice of the groups with zeros in place of missing ones."""
        return values.masked_fill(self.part(part).reshape(values.shape), 0)


def part_mask(groups: Groups, part: slice) -> Tensor | None:
    """Return the mask [part n] of a slice of the groups: True for real patches; None if the groups have no mask."""
    return None if groups.mask is None else groups.mask[part]


def zero_padding(values: Tensor, mask: Tensor | None) -> Tensor:
    """Return values [part n ...] with zeros in place of padding.

    Apply it before a square or a logarithm: the gradient of a padded NaN would be NaN even if its loss were masked.
    """
    return values if mask is None else values.masked_fill(~mask.reshape(*mask.shape, *[1] * (values.ndim - 2)), 0)
