"""The estimate of a pass: of one call against the real pass on fake tensors, and of streamed ones in their order."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from fitcli.memory.fake_step import Meter
from fitcli.profiling.inference import Inference, estimate_pass, pass_executions
from fitcli.tasks.registry import TASKS, find_task
from models.build import build
from models.groups import Groups

SIDE = 5


def inference(task: str, **changes: Any) -> Inference:
    return Inference(
        **{"config": find_task(task).preset("tiny").config, "groups": SIDE**2, "device": "cuda", **changes}
    )


def test_a_cpu_is_its_own_host() -> None:
    assert [name for name, _ in pass_executions("cpu")] == ["whole", "streamed, from the host", "streamed, from disk"]
    assert [store for _, store in pass_executions("cuda")] == [None, "device", "host", "disk"]


def test_a_pass_in_one_call_agrees_with_the_real_pass() -> None:
    """Operations agree within 0.5 %, memory within 10 %."""
    work = inference("classify")
    with FakeTensorMode():
        model: Any = build(work.config, "meta").eval()
        for module in model.modules():
            for name, parameter in module.named_parameters(recurse=False):
                setattr(module, name, nn.Parameter(torch.empty(parameter.shape)))
        groups = Groups.of_grid(1, SIDE, SIDE)
        pixels = torch.empty(SIDE**2, work.config.tokens, model.config.values, dtype=torch.uint8)
        with torch.no_grad(), Meter(model.parameters()) as meter:
            find_task("classify").sample_pass(model, groups, pixels, torch.device("cpu"), None)
    estimate = estimate_pass(work, None)
    assert estimate.total_flops == pytest.approx(meter.flops, rel=0.005)
    assert estimate.peak_bytes - estimate.parts["parameters"] == pytest.approx(meter.peak + pixels.numel(), rel=0.1)


@pytest.mark.parametrize("task", TASKS)
def test_streamed_passes_take_less_and_less(task: str) -> None:
    large = inference(task, groups=100**2)
    peaks = [estimate_pass(large, store).peak_bytes for _, store in pass_executions("cuda")]
    assert peaks == sorted(peaks, reverse=True)
    away = [estimate_pass(large, store).away_bytes for _, store in pass_executions("cuda")]
    assert away[:2] == [0, 0]
    assert away[2] == away[3] == large.work.tokens_bytes
