"""Trains small runs in float64, so that runs of one process and of several can be compared to 1e-9."""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support.small_runs import data_of
from torch import nn

from fitcli.device.runtime import choose_runtime
from fitcli.distributed.world import ALONE, World
from fitcli.execution.plan import ExecutionPlan
from fitcli.tasks.registry import train_settings
from fitcli.training import fsdp, trained_model
from fitcli.training.loop import train
from fitcli.training.prepare import prepare
from fitcli.training.reports import Report, StepReport
from fitcli.training.start_options import StartOptions
from fitcli.training.stop_requests import TimeLimitReached
from models.build import build

CPU = choose_runtime("cpu", "fp32")

CASES: dict[str, dict[str, Any]] = {
    "classify": {"task": "classify", "balance": True, "label_smoothing": 0.1, "ema": 0.5},
    "diffusion": {"task": "diffusion", "ema": 0.5},
    "autoregressive": {"task": "autoregressive", "levels": 8, "ema": 0.5, "size": 32},
    "segment": {"task": "segment", "patch": 4, "class_weights": "inverse", "shift_canvas": 9, "ema": 0.5},
    "detect": {"task": "detect", "patch": 4, "shift_canvas": 9, "ema": 0.5},
}
"""Training settings of each task."""

RECOMPUTE = {"kind": "recompute", "handful": 2, "global_layers": "checkpoint"}
"""An execution plan that recomputes everything."""


def train_here(
    data: Path,
    folder: Path,
    world: World = ALONE,
    shard: bool = False,
    plan: dict[str, Any] | None = None,
    resume: bool = False,
    stop: int | None = None,
    stopper: int = 0,
    late: bool = False,
    **settings: Any,
) -> None:
    """Train in float64, in this process or in all processes of a job.

    Args:
        data: The data set.
        folder: The run folder.
        world: The processes of the job.
        shard: Whether processes share the weights.
        plan: The execution; None for the one that `fit` chooses.
        resume: Whether to continue the run in the folder.
        stop: The step after which the rank `stopper` receives SIGTERM; None for no signal.
        stopper: The rank that is interrupted, or whose time is over.
        late: Whether the time of the rank `stopper` is over from the start.
        settings: Fields of `TrainSettings`.
    """
    fields = train_settings(**{"preset": "debug", "batch_size": 4, "accumulate": 2, "steps": 3, **settings})
    start = StartOptions(
        data=data_of(fields.task, data), folder=folder, runtime=CPU, resume=resume, world=world, shard=shard
    )
    run, _ = prepare(fields, start)
    if plan is not None:
        run = replace(run, plan=ExecutionPlan(**plan))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trained_model, "build", _build_in_float64)
        patch.setattr(fsdp, "build", _build_in_float64)
        if late:
            with pytest.raises(TimeLimitReached):
                train(replace(run, deadline=0 if world.rank == stopper else math.inf), lambda report: None, resume)
            return
        if stop is None:
            train(run, lambda report: None, resume)
            return
        with pytest.raises(KeyboardInterrupt):
            train(run, _signal_at(stop if world.rank == stopper else None), resume)


def _build_in_float64(*arguments: Any, **settings: Any) -> Any:
    """Build a float64 model whose layers cast their inputs, since data is float32."""
    model = build(*arguments, **settings).double()
    for module in model.modules():
        if any(True for _ in module.parameters(recurse=False)):
            module.register_forward_pre_hook(_cast)
    return model


def _cast(_: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(a.double() if isinstance(a, torch.Tensor) and a.is_floating_point() else a for a in arguments)


def _signal_at(step: int | None) -> Callable[[Report], None]:
    """Return an observer that sends SIGTERM to this process after a step."""

    def observe(report: Report) -> None:
        if isinstance(report, StepReport) and report.step == step:
            signal.raise_signal(signal.SIGTERM)

    return observe


def metrics(folder: Path) -> list[dict[str, Any]]:
    """Read the log of a run without the values that depend on the clock."""
    entries = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    timed = ("images_per_second", "patches_per_second", "data_wait", "peak_bytes")
    return [{name: value for name, value in entry.items() if name not in timed} for entry in entries]


def assert_close_runs(one: Path, other: Path) -> None:
    """Assert that two runs have the same weights, averages and logged values to 1e-9."""
    for name in ("last/model.safetensors", "last/ema.safetensors", "model.safetensors"):
        if not (other / name).is_file():
            continue
        mine, theirs = load_file(one / name), load_file(other / name)
        assert mine.keys() == theirs.keys()
        for key, tensor in theirs.items():
            assert tensor.dtype == torch.float64
            torch.testing.assert_close(mine[key], tensor, rtol=0, atol=1e-9, msg=lambda text, key=key: f"{key}: {text}")
    mine_logged, theirs_logged = metrics(one), metrics(other)
    assert len(mine_logged) == len(theirs_logged)
    for entry, expected in zip(mine_logged, theirs_logged, strict=True):
        assert entry.keys() == expected.keys()
        for key, value in expected.items():
            same = entry[key] == value if isinstance(value, str) else math.isclose(entry[key], value, abs_tol=1e-9)
            assert same, f"{key} of {entry}, not {value}"
