"""Test that a seed determines the weights of a model, and that a model on the meta device has no memory."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from support.batches import CONFIGS, TRUNK, encoder_config

from models.build import build
from models.config import TrunkConfig


@pytest.mark.parametrize("name", CONFIGS)
def test_the_same_seed_gives_the_same_weights(name: str) -> None:
    config = CONFIGS[name]
    torch.manual_seed(5)
    one = build(config, seed=3).state_dict()
    torch.manual_seed(6)
    same, other = build(config, seed=3).state_dict(), build(config, seed=4).state_dict()
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert any(not torch.equal(one[key], other[key]) for key in one)
    assert all(torch.isfinite(value).all() for value in one.values())


@pytest.mark.parametrize("name", CONFIGS)
def test_a_model_on_the_meta_device_has_shapes_and_no_memory(name: str) -> None:
    config = CONFIGS[name]
    meta, real = build(config, device="meta").state_dict(), build(config).state_dict()
    assert all(value.is_meta for value in meta.values())
    assert {key: value.shape for key, value in meta.items()} == {key: value.shape for key, value in real.items()}


def test_building_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    build(encoder_config(), seed=9)
    assert torch.equal(torch.rand(3), expected)


def test_a_trunk_alone_is_no_model() -> None:
    trunk = TrunkConfig(**TRUNK)
    with pytest.raises(TypeError, match="TrunkConfig"):
        build(trunk)  # type: ignore[call-overload]


def test_building_on_the_meta_device_does_not_import_the_compiler() -> None:
    """It takes 70 MiB of the memory that a command may use, and a second."""
    code = (
        "import sys; from models.build import build; from models.presets import decoder_preset; "
        "build(decoder_preset('debug', 3, 2, 256, 2)[0], 'meta'); assert 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
