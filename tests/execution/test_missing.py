"""Missing values do not count, in the sum and in the divisor."""

from __future__ import annotations

import torch

from fitcli.execution.missing import Missing
from models.real_tokens import RealTokens


def test_missing_values_are_zero_and_do_not_count() -> None:
    marks = torch.zeros(3, 2, 4, dtype=torch.bool)
    marks[1, 0, :3] = marks[2, 1] = True
    missing = Missing.of(marks, None, torch.device("cpu"))
    assert missing.present == 24 - 7
    assert missing.zero(torch.ones(2, 2, 4), slice(1, 3)).sum() == 16 - 7
    assert missing.zero(torch.ones(2, 8), slice(1, 3)).sum() == 16 - 7, "in either shape"
    mask = torch.tensor([[True, True], [True, True], [True, False]])
    assert Missing.of(marks, mask, torch.device("cpu")).present == 20 - 3, "padding is not missing twice"


def test_packed_values_lose_their_own_missing_ones() -> None:
    marks = torch.zeros(2, 3, 2, dtype=torch.bool)
    marks[0, 1, 0] = marks[1, 2] = True
    mask = torch.tensor([[False, True, True], [True, False, True]])
    real, every = RealTokens.of(mask), slice(0, 2)
    missing = Missing.of(marks, mask, torch.device("cpu"))
    values = torch.arange(1.0, 13).reshape(2, 3, 2)
    zeroed = real.unpack(missing.zero(real.pack(values), every, real))
    assert torch.equal(zeroed, values.masked_fill(marks | ~mask[..., None], 0))
    assert missing.present == 8 - 3
