"""Keeps missing pixels out of a loss, a slice of the groups at a time."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from fitcli.device.transfer import to_device
from fitcli.execution.job import Part
from models.real_tokens import WHOLE_GROUPS, RealTokens


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
            marks: Marks of missing values, [g n p] bool, True if missing.
            mask: Mask [g n] in host memory, False for padding; None if there is none.
            device: Device of the losses.
        """
        present = ~marks if mask is None else ~marks & mask[..., None]
        return cls(lambda part: to_device(marks[part], device), int(present.sum()))

    def zero(self, values: Tensor, part: slice, real: RealTokens = WHOLE_GROUPS) -> Tensor:
        """Return values of a slice of the groups with zeros in place of missing ones.

        Args:
            values: [part n v], packed for `real`; or [part n * v].
            part: The slice.
            real: Real tokens of the slice.
        """
        return values.masked_fill(real.pack(self.part(part)).reshape(values.shape), 0)
