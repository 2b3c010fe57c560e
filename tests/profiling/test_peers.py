"""The estimates of peers: parameters against the real models, memory and operations against the real step."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from fitcli.errors import FitError
from fitcli.memory.estimate import Training, parameter_count
from fitcli.memory.fake_step import Meter
from fitcli.profiling.peer_models import ViT
from fitcli.profiling.peers import estimate_peer, parse_peers, vit_sizes
from fitcli.tasks.registry import find_task
from models.presets import classifier_preset

WORK = Training(config=classifier_preset("tiny", 3, 10), groups=4, images=2, device="cuda", batches=1)


def test_names() -> None:
    assert parse_peers(None, "classify", WORK.config) == parse_peers(" , ", "classify", WORK.config) == []
    assert parse_peers("swin, vit", "classify", WORK.config) == ["swin", "vit"]
    with pytest.raises(FitError, match=r"^--compare takes vit and swin, not 'resnet'; correct the name$"):
        parse_peers("vit,resnet", "classify", WORK.config)
    with pytest.raises(FitError, match=r"^--compare is for encoders, not for diffusion; leave it out$"):
        parse_peers("vit", "diffusion", find_task("diffusion").preset("tiny").config)


@pytest.mark.parametrize("preset", ["tiny", "small", "base"])
def test_a_vit_has_about_as_many_parameters(preset: str) -> None:
    config = classifier_preset(preset, 3, 100)
    width, depth = vit_sizes(replace(WORK, config=config))
    assert width == config.latent_width
    assert 12 * width**2 * depth == pytest.approx(
        parameter_count(config), rel=0.5 * 12 * width**2 / parameter_count(config)
    )


@pytest.mark.parametrize("checkpointed", [False, True])
def test_a_vit_agrees_with_the_real_step(checkpointed: bool) -> None:
    side = 512
    width, depth = vit_sizes(WORK)
    patches = (side // WORK.config.patch) ** 2
    with FakeTensorMode():
        model = ViT(WORK.config.values, width, depth, checkpointed)
        weights = sum(parameter.numel() for parameter in model.parameters())
        with Meter(model.parameters()) as meter:
            inputs = torch.empty(WORK.images, patches, WORK.config.values)
            model(inputs).float().square().mean().backward()
    estimate = estimate_peer("vit", WORK, side, checkpointed)
    assert estimate.parts["parameters"] == pytest.approx(4 * weights, rel=0.01)
    assert estimate.parts["optimizer"] == 2 * estimate.parts["parameters"]
    assert estimate.total_flops == pytest.approx(meter.flops, rel=0.01)
    moving = estimate.peak_bytes - estimate.parts["parameters"] - estimate.parts["optimizer"]
    assert moving == pytest.approx(meter.peak, rel=0.05)


def test_a_swin_takes_less_than_a_vit_at_any_size() -> None:
    for side in (1024, 4096):
        assert estimate_peer("swin", WORK, side).total_flops < estimate_peer("vit", WORK, side).total_flops
    plain, checkpointed = (estimate_peer("swin", WORK, 1024, again) for again in (False, True))
    assert checkpointed.peak_bytes < plain.peak_bytes
    assert checkpointed.total_flops > plain.total_flops
