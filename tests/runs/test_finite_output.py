"""NaN and infinity are refused by name, wherever they stand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from support import decoders

from fitcli.runs.finite_output import NonFiniteOutput, check_finite_groups, check_finite_numbers
from fitcli.runs.weights import Checkpoint

MADE = decoders.checkpoint(levels=8)
RUN = Checkpoint(MADE.model, MADE.config, Path("run"))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("shape", [(4,), (4, 3), (4, 2, 3)])
def test_groups_are_counted(value: float, shape: tuple[int, ...]) -> None:
    values = torch.ones(shape)
    check_finite_groups(RUN, values, "latents")
    values[1], values[3].view(-1)[0] = value, value
    message = (
        "run: latents of 2 of 4 groups are NaN or infinite for a.tif; its weights, or the pixels of the image, are"
    )
    with pytest.raises(NonFiniteOutput, match=message):
        check_finite_groups(RUN, values, "latents", Path("a.tif"))
    with pytest.raises(NonFiniteOutput, match="groups are NaN or infinite; its weights are too large: use an earlier"):
        check_finite_groups(RUN, values, "latents")
    check_finite_groups(MADE, values, "latents")


def test_numbers() -> None:
    check_finite_numbers(RUN, [1e308, -0.0], "scores")
    check_finite_numbers(MADE, [math.nan], "scores")
    with pytest.raises(NonFiniteOutput, match="run: scores are NaN or infinite"):
        check_finite_numbers(RUN, [1.0, math.nan], "scores")
