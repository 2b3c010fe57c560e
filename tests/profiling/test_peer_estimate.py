"""The estimates of peers: those of the real models run without memory, at another size than that of the table."""

from __future__ import annotations

import importlib.util
import math

import pytest
import torch
from support.real_step import Meter
from torch._subclasses.fake_tensor import FakeTensorMode

from fitcli.memory.dry_model import without_memory
from fitcli.memory.estimate import FLOAT, Training
from fitcli.profiling.peer_estimate import estimate_peer
from fitcli.profiling.peer_models import build_peer
from fitcli.profiling.peers import Peer, vit_sizes
from fitcli.tasks.registry import find_task
from models.presets import classifier_preset

WORK = Training(task=find_task("classify"), config=classifier_preset("tiny", 3, 10), groups=4, images=2)
SIDE = 512

has_timm = pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="timm is not installed")


@pytest.mark.parametrize("checkpointed", [False, True])
@pytest.mark.parametrize("peer", ["vit", pytest.param("swin", marks=has_timm)])
def test_an_estimate_is_the_real_step(peer: Peer, checkpointed: bool) -> None:
    config, (width, depth) = WORK.config, vit_sizes(WORK)
    model, shape = build_peer(peer, SIDE, config.values, width, depth, checkpointed)
    weights = sum(parameter.numel() for parameter in model.parameters())
    patches = [(SIDE // config.patch) ** 2] if peer == "vit" else []
    with FakeTensorMode():
        without_memory(model)
        images = torch.empty(WORK.images, *patches, *shape)
        with Meter([*model.parameters(), images]) as meter:
            model(images).float().square().mean().backward()
    estimate = estimate_peer(peer, WORK, SIDE, checkpointed)
    assert estimate.parts["parameters"] == pytest.approx(FLOAT * weights, rel=0.01)
    assert estimate.parts["optimizer"] == 2 * estimate.parts["parameters"]
    # Swin's masks of shifted windows grow with the image, and are left out.
    assert estimate.total_flops == pytest.approx(meter.flops, rel=0.005)
    fixed = sum(estimate.parts[name] for name in ("parameters", "optimizer", "pixels"))
    assert estimate.peak_bytes - fixed == pytest.approx(meter.peak, rel=0.03)


def test_a_swin_takes_less_than_a_vit_at_any_size() -> None:
    for side in (1024, 4096):
        assert estimate_peer("swin", WORK, side).total_flops < estimate_peer("vit", WORK, side).total_flops
    plain, checkpointed = (estimate_peer("swin", WORK, 1024, again) for again in (False, True))
    assert checkpointed.peak_bytes < plain.peak_bytes
    assert checkpointed.total_flops > plain.total_flops


def test_swin_is_linear_in_the_pixels() -> None:
    small, large = (estimate_peer("swin", WORK, side).total_flops for side in (1024, 4096))
    assert math.isclose(large, 16 * small, rel_tol=1e-9)
