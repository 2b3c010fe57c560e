"""The next-token loss by its definition."""

from __future__ import annotations

import math

import pytest
import torch

from fitcli.tasks.autoregressive.next_token import next_token_loss
from models.checks import ConfigError


@pytest.mark.parametrize("vocabulary", [2, 11, 256])
def test_ignorance_costs_the_logarithm_of_the_vocabulary(vocabulary: int) -> None:
    targets = torch.arange(6).reshape(2, 3) % vocabulary
    for smoothing in (0.0, 0.1, 1.0):
        loss = next_token_loss(torch.zeros(2, 3, vocabulary), targets, smoothing)
        assert loss.item() == pytest.approx(math.log2(vocabulary), rel=1e-5)


def test_smoothed_loss_is_its_definition() -> None:
    logits, targets, smoothing = torch.randn(2, 3, 7).double(), torch.randint(7, (2, 3)), 0.2
    wanted = torch.nn.functional.one_hot(targets, 7) * (1 - smoothing) + smoothing / 7
    expected = -(wanted * logits.log_softmax(-1)).sum(-1).mean() / math.log(2)
    assert next_token_loss(logits, targets, smoothing).item() == pytest.approx(expected.item())
    with pytest.raises(ConfigError, match=r"1\.5"):
        next_token_loss(logits, targets, 1.5)
