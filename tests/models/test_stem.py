"""Test which pixels of an image a token sees."""

from __future__ import annotations

import pytest
import torch
from support.batches import encoder_config
from torch import Tensor

from models.config import EncoderConfig
from models.stem import build_stem

PATCH, SIDE = 8, 5
MIDDLE = SIDE // 2


def seen(stem: str) -> Tensor:
    """Return the influence [height width] of each pixel of a group on the token in its middle, with equal weights."""
    config: EncoderConfig = encoder_config(
        stem=stem, patch=PATCH, tokens=SIDE**2, channels=1, token_positions="learned", token_width=32, token_heads=2
    )
    model = build_stem(config).double()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(0.01 if name.endswith("weight") else 0.0)
    pixels = torch.ones(1, SIDE * PATCH, SIDE * PATCH, dtype=torch.float64, requires_grad=True)
    patches = pixels.reshape(SIDE, PATCH, SIDE, PATCH).transpose(1, 2).reshape(1, SIDE**2, PATCH**2)
    model(patches)[0, MIDDLE * SIDE + MIDDLE].sum().backward()
    assert pixels.grad is not None
    return pixels.grad[0].abs()


@pytest.mark.parametrize(("stem", "margin"), [("conv", 0), ("overlap", PATCH - 1)])
def test_a_token_sees_its_patch_and_a_margin(stem: str, margin: int) -> None:
    strength = seen(stem)
    places = strength.nonzero()
    first, last = MIDDLE * PATCH - margin, (MIDDLE + 1) * PATCH + margin - 1
    assert places.min(dim=0).values.tolist() == [first, first]
    assert places.max(dim=0).values.tolist() == [last, last]
    assert torch.allclose(strength, strength.flip(0))
    assert torch.allclose(strength, strength.flip(1))
    assert torch.allclose(strength, strength.T)
