"""The process that `measure.py` starts: reads a request from stdin, runs it, and prints one JSON document."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from fitcli import console
from fitcli.device.runtime import Runtime, choose_runtime, return_freed_memory
from fitcli.execution.plan import ExecutionPlan
from fitcli.execution.run import run_job
from fitcli.memory.plan import STEP_HANDFUL_TOKENS
from fitcli.profiling.peer_models import build_peer
from fitcli.streaming.sweeps import Streaming
from fitcli.tasks.registry import find_task, train_settings
from fitcli.tasks.task import Task
from fitcli.training.optimizer import build_optimizer
from models.build import build
from models.groups import Groups


def main() -> None:
    """Entry point."""
    request = json.loads(sys.stdin.read())
    runtime = choose_runtime(request["device"], request["precision"])
    try:
        console.json(measure(request, runtime))
    except torch.OutOfMemoryError:
        console.json(None)


def measure(request: dict[str, Any], runtime: Runtime) -> dict[str, float]:
    """Run what is asked for, several times."""
    if runtime.device.type == "cpu":
        # As a training run with --memory does.
        return_freed_memory()
    before = _status("VmRSS") if runtime.device.type == "cpu" else 0
    step = {"train": training, "infer": inference, "peer": peer}[request["kind"]](request, runtime)
    seconds = []
    for _ in range(request["steps"]):
        runtime.synchronize()
        began = time.perf_counter()
        step()
        runtime.synchronize()
        seconds.append(time.perf_counter() - began)
    if runtime.device.type == "cuda":
        peak, reserved = torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
    else:
        peak = reserved = _status("VmHWM") - before
    return {"peak_bytes": peak, "reserved_bytes": reserved, "seconds": statistics.median(seconds[1:])}


def training(request: dict[str, Any], runtime: Runtime) -> Callable[[], object]:
    """A training step with its optimizer."""
    model = _model(request, runtime)
    groups = Groups.of_grid(request["images"], *request["side"]).to(runtime.device)
    plan = ExecutionPlan(**request["plan"])
    waiting = [_waiting(request, model, len(groups.number)) for _ in range(request["batches"])]
    if plan.kind != "stream":
        waiting[0] = waiting[0].to(runtime.device)
    job = _task(request).sample_step(model, groups, lambda part: waiting[0][part].to(runtime.device, non_blocking=True))
    optimizer = build_optimizer(model, train_settings())

    def step() -> None:
        with runtime.autocast():
            run_job(job, plan)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def inference(request: dict[str, Any], runtime: Runtime) -> Callable[[], object]:
    """A forward pass over one image."""
    model = _model(request, runtime).eval().requires_grad_(False)
    groups = Groups.of_grid(1, *request["side"])
    waiting = _waiting(request, model, len(groups.number))
    how = Streaming(
        handful=max(1, STEP_HANDFUL_TOKENS[runtime.device.type] // cast(int, model.config.tokens)),  # type: ignore[union-attr]
        store=request["store"] or "host",
    )

    def step() -> None:
        with torch.inference_mode(), runtime.autocast():
            streaming = None if request["store"] is None else how
            _task(request).sample_pass(model, groups, waiting, runtime.device, streaming)

    return step


def peer(request: dict[str, Any], runtime: Runtime) -> Callable[[], object]:
    """A training step of a peer with its optimizer."""
    model, given = build_peer(
        request["peer"], request["pixels"], request["patch"], request["width"], request["depth"],
        request["checkpointed"], request["images"], runtime.device,
    )  # fmt: skip
    optimizer = build_optimizer(model, train_settings())

    def step() -> None:
        with runtime.autocast():
            loss = model(given).float().square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def _task(request: dict[str, Any]) -> Task[Any]:
    return find_task(request["task"])


def _model(request: dict[str, Any], runtime: Runtime) -> nn.Module:
    config = _task(request).details.model_type.from_dict(request["config"])
    return cast(nn.Module, build(config, runtime.device))


def _waiting(request: dict[str, Any], model: nn.Module, groups: int) -> Tensor:
    """Return the input of a model in host memory, with every page of it touched."""
    one = _task(request).waiting(model.config)
    return torch.randint(one.values, (groups, *one.shape), dtype=one.dtype)


def _status(name: str) -> int:
    """VmRSS or VmHWM of this process in bytes: unlike `ru_maxrss`, they know nothing of the process before `exec`."""
    return int(Path("/proc/self/status").read_text().split(f"{name}:")[1].split()[0]) * 1024


if __name__ == "__main__":
    main()
