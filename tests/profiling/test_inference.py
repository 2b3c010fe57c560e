"""The estimate of a pass: of one call against the real pass without memory, and of streamed ones against the plan."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.real_step import Meter
from torch._subclasses.fake_tensor import FakeTensorMode

from fitcli.memory.budget import plan_memory
from fitcli.memory.dry_model import without_memory
from fitcli.memory.samples import SampleImage
from fitcli.profiling.inference import Inference, estimate_pass, pass_executions, streamed_handful
from fitcli.tasks.registry import TASKS, find_task
from models.build import build
from models.groups import Groups

SIDE = 5
GIB = 2**30


def inference(task: str, **changes: Any) -> Inference:
    chosen = find_task(task)
    fields = {"task": chosen.passes, "config": chosen.preset("tiny").config, "groups": SIDE**2, "device": "cuda"}
    return Inference(**{**fields, "budget_bytes": 16 * GIB, **changes})


def test_a_cpu_is_its_own_host() -> None:
    assert [name for name, _ in pass_executions("cpu")] == ["whole", "streamed, from the host", "streamed, from disk"]
    assert [store for _, store in pass_executions("cuda")] == [None, "device", "host", "disk"]


@pytest.mark.walk(2)
@pytest.mark.parametrize("task", TASKS)
def test_a_pass_in_one_call_is_the_real_pass(task: str) -> None:
    work = inference(task)
    one = work.task.step_input(work.config)
    model: Any = build(work.config, "meta").eval()  # type: ignore[call-overload]
    with FakeTensorMode():
        without_memory(model)
        groups = Groups.of_grid(1, SIDE, SIDE)
        inputs = torch.empty(SIDE**2, *one.shape, dtype=one.dtype)
        with torch.no_grad(), Meter([*model.parameters(), inputs]) as meter:
            work.task.sample_pass(model, SampleImage(groups, inputs, torch.device("cpu")), None)
    estimate = estimate_pass(work, None)
    # The dry run computes all strips of a causal `mix` as one, over half of the last strip more.
    assert estimate.total_flops == pytest.approx(meter.flops, rel=0.005 if task == "autoregressive" else 0)
    moving = estimate.peak_bytes - estimate.parts["parameters"] - estimate.parts["pixels"]
    assert moving == pytest.approx(meter.peak, rel=0.01)


@pytest.mark.parametrize("task", TASKS)
def test_streamed_passes_take_less_and_less(task: str) -> None:
    large = inference(task, groups=100**2, budget_bytes=1000 * GIB)
    peaks = [estimate_pass(large, store).peak_bytes for _, store in pass_executions("cuda")]
    assert peaks == sorted(peaks, reverse=True)
    away = [estimate_pass(large, store).away_bytes for _, store in pass_executions("cuda")]
    assert away[:2] == [0, 0]
    assert away[2] == away[3] == large.work.tokens_bytes


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize(
    ("task", "gib"), [*(("classify", gib) for gib in (0.8, 2, 16)), ("segment", 0.8), ("segment", 16)]
)
def test_a_profile_says_what_a_pass_plans(task: str, gib: float, device: str) -> None:
    """The handful and the sum of `fit classify --memory`, which is given the same image and budget."""
    work = inference(task, groups=40**2, device=device, budget_bytes=int(gib * GIB))
    plan = plan_memory(work.work, device, work.budget_bytes, host_bytes=None)
    assert streamed_handful(work, plan.store) == plan.handful
    estimate = estimate_pass(work, plan.store)
    assert estimate.needed_bytes == sum(plan.parts.values()) <= work.budget_bytes
