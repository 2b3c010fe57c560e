"""What cannot run without memory is one line that names the operation."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from fitcli.errors import FitError
from fitcli.memory.dry_model import dry_model
from fitcli.memory.sizes import IMAGES, dry_sizes


class Masked(nn.Module):
    """An operation whose result has a shape that depends on values."""

    def forward(self, x: Tensor) -> Tensor:
        return x[x > 0]


class Asking(nn.Module):
    """A step that asks for a value."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if x.sum() > 0 else x


@pytest.mark.parametrize("model", [Masked(), Asking()])
def test_what_cannot_run_without_memory_is_one_line(model: nn.Module) -> None:
    text = r"^the memory of this model cannot be estimated \(.*aten.*\); measure it with "
    with pytest.raises(FitError, match=text), dry_model(model, "fp32", dry_sizes(IMAGES, handfuls=False)):
        model(torch.empty(4))
