"""Measures real steps on the device of this machine, each in a process of its own."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from fitcli.device.runtime import Runtime
from fitcli.errors import FitError
from fitcli.execution.plan import ExecutionPlan
from fitcli.memory.estimate import Training
from fitcli.profiling.inference import Inference, streamed_handful
from fitcli.profiling.peers import Peer, vit_sizes
from fitcli.streaming.token_store import StoreKind
from models.config import EncoderConfig

STEPS = 3
"""Number of steps per measurement. The first warms up, and creates the moments of AdamW."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """Memory and time of a step.

    Attributes:
        peak_bytes: Peak of the allocated bytes on a CUDA device; on a CPU, of resident bytes beyond Python with torch.
        reserved_bytes: Peak of the bytes that the allocator of a CUDA device holds; on a CPU, `peak_bytes`.
        seconds: Median duration of the steps after the first.
        loaded_bytes: Resident bytes beyond Python with torch before the model of a training step was built; 0 on other
            devices and for other work.
    """

    peak_bytes: int
    reserved_bytes: int
    seconds: float
    loaded_bytes: int = 0


def measure_step(
    task: str, work: Training, plan: ExecutionPlan, side: tuple[int, int], runtime: Runtime
) -> Measurement | None:
    """Measure training steps on random pixels.

    Args:
        task: Name of the task of the model.
        work: The step; `side` replaces its groups.
        plan: Execution of the step.
        side: Rows and columns of groups of each image.
        runtime: Device and precision.

    Returns:
        The measurement; None if the device ran out of memory.

    Raises:
        FitError: The process failed for another reason.
    """
    return _run({"kind": "train", "plan": dataclasses.asdict(plan), "batches": work.batches, "images": work.images,
                 "side": side, **_model(task, work)}, runtime)  # fmt: skip


def measure_pass(
    task: str, inference: Inference, store: StoreKind | None, side: tuple[int, int], runtime: Runtime
) -> Measurement | None:
    """Measure forward passes over one image of random pixels, see `measure_step`."""
    handful = streamed_handful(inference, store)
    return _run({"kind": "infer", "store": store, "handful": handful, "side": side, **_model(task, inference)}, runtime)


def measure_peer(peer: Peer, work: Training, side: int, checkpointed: bool, runtime: Runtime) -> Measurement | None:
    """Measure training steps of a peer on square images of `side` pixels, see `measure_step`."""
    assert isinstance(work.config, EncoderConfig)
    width, depth = vit_sizes(work)
    request = {"kind": "peer", "peer": peer, "pixels": side, "patch": work.config.patch, "width": width, "depth": depth,
               "checkpointed": checkpointed, "images": work.images}  # fmt: skip
    return _run(request, runtime)


def _model(task: str, work: Training | Inference) -> dict[str, Any]:
    return {"task": task, "config": work.config.to_dict()}


def _run(request: dict[str, Any], runtime: Runtime) -> Measurement | None:
    request |= {"device": str(runtime.device), "precision": runtime.precision, "steps": STEPS}
    command = [sys.executable, "-m", "fitcli.profiling.measuring_process"]
    done = subprocess.run(command, input=json.dumps(request), capture_output=True, text=True, check=False)
    if done.returncode == 0:
        document = json.loads(done.stdout)
        return None if document is None else Measurement(**document)
    if done.returncode in (-9, 137):
        # Out of memory on a CPU: the system kills the process.
        return None
    last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
    raise FitError(f"measuring failed: {last[0]}; use --method estimate")
