"""Random bytes become floats of about mean 0 and deviation 1."""

from __future__ import annotations

import pytest
import torch

from fitcli.patches.sample_pixels import as_pixels


def test_bytes_become_normalised_floats() -> None:
    values = as_pixels(torch.arange(256, dtype=torch.uint8)[:, None])
    assert values.dtype is torch.float32
    assert float(values.mean()) == pytest.approx(0, abs=0.01)
    assert 0.8 < float(values.std()) < 1.3
