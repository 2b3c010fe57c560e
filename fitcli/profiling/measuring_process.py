"""The process that `measure.py` starts: it reads a request from stdin, runs it, and prints one JSON document."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from fitcli import console
from fitcli.device.host_memory import bytes_beyond_torch
from fitcli.device.runtime import Runtime, choose_runtime, return_freed_memory
from fitcli.errors import is_out_of_memory
from fitcli.execution.plan import ExecutionPlan
from fitcli.execution.run import run_job
from fitcli.memory.samples import SampleImage
from fitcli.profiling.peer_models import build_peer
from fitcli.streaming.sweeps import Streaming
from fitcli.tasks.registry import find_task, train_settings
from fitcli.tasks.task import Task
from fitcli.training.optimizer import build_optimizer
from fitcli.training.warm_up import warm_up
from models.build import build
from models.groups import Groups


def main() -> None:
    """Run the request on stdin."""
    request = json.loads(sys.stdin.read())
    runtime = choose_runtime(request["device"], request["precision"])
    try:
        console.json(measure(request, runtime))
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        console.json(None)


def measure(request: dict[str, Any], runtime: Runtime) -> dict[str, float | int]:
    """Run the step of a request several times; return the entries of a `Measurement`."""
    if runtime.device.type == "cpu":
        # A training run with --memory does the same.
        return_freed_memory()
    loaded = _load_libraries(runtime) if request["kind"] == "train" else 0
    step = {"train": training_step, "infer": forward_pass, "peer": peer_step}[request["kind"]](request, runtime)
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
        # Libraries included, as `--memory` counts them.
        peak = reserved = bytes_beyond_torch("VmHWM") or 0
    return {
        "peak_bytes": peak,
        "reserved_bytes": reserved,
        "seconds": statistics.median(seconds[1:]),
        "loaded_bytes": loaded,
    }


def _load_libraries(runtime: Runtime) -> int:
    """Load what a training run loads before it measures itself; return the resident bytes of it on a CPU."""
    if runtime.device.type != "cpu":
        return 0
    warm_up(runtime, train_settings())
    return bytes_beyond_torch() or 0


def training_step(request: dict[str, Any], runtime: Runtime) -> Callable[[], object]:
    """Return a training step with its optimizer."""
    model, task = _model(request, runtime), _task(request)
    groups = Groups.of_grid(request["images"], *request["side"]).to(runtime.device)
    plan = ExecutionPlan(**request["plan"])
    batches = [_inputs(request, model, len(groups.number)) for _ in range(request["batches"])]
    if plan.kind != "stream":
        batches[0] = batches[0].to(runtime.device)
    optimizer = build_optimizer(model, train_settings())

    def step() -> None:
        with runtime.autocast():
            job = task.sample_step(model, groups, lambda part: batches[0][part].to(runtime.device), plan)
            run_job(job, plan)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def forward_pass(request: dict[str, Any], runtime: Runtime) -> Callable[[], object]:
    """Return a forward pass over one image."""
    model = _model(request, runtime).eval().requires_grad_(False)
    groups = Groups.of_grid(1, *request["side"])
    image = SampleImage(groups, _inputs(request, model, len(groups.number)), runtime.device)
    how = Streaming(
        handful=request["handful"],
        store=request["store"] or "host",
    )

    def step() -> None:
        with torch.inference_mode(), runtime.autocast():
            streaming = None if request["store"] is None else how
            _task(request).passes.sample_pass(model, image, streaming)

    return step


def peer_step(request: dict[str, Any], runtime: Runtime) -> Callable[[], object]:
    """Return a training step of a peer with its optimizer."""
    side, patch, device = request["pixels"], request["patch"], runtime.device
    model, shape = build_peer(
        request["peer"], side, 3 * patch**2, request["width"], request["depth"], request["checkpointed"], device
    )
    patches = [(side // patch) ** 2] if request["peer"] == "vit" else []
    images = torch.rand(request["images"], *patches, *shape, device=device)
    optimizer = build_optimizer(model, train_settings())

    def step() -> None:
        with runtime.autocast():
            loss = model(images).float().square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def _task(request: dict[str, Any]) -> Task[Any]:
    return find_task(request["task"])


def _model(request: dict[str, Any], runtime: Runtime) -> nn.Module:
    config = _task(request).details.model_type.from_dict(request["config"])
    return cast(nn.Module, build(config, runtime.device))


def _inputs(request: dict[str, Any], model: nn.Module, groups: int) -> Tensor:
    """Return random inputs in host memory. All their pages are written, so that they count as resident."""
    one = _task(request).step_input(model.config)
    return torch.randint(one.values, (groups, *one.shape), dtype=one.dtype)


if __name__ == "__main__":
    main()
