"""From the words of the command line to a model and the conditions under which it is asked about."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch

from fitcli.device.runtime import Precision, Runtime, choose_runtime, has_accelerator
from fitcli.errors import FitError
from fitcli.memory.machine import free_bytes
from fitcli.profiling.rows import Conditions, Method, Subject
from fitcli.tasks.load import load_config
from fitcli.tasks.registry import DEFAULT_TASK, find_task, task_options

CARD_BYTES = 16 << 30
"""Of the GPU that is asked about where there is none: the one of the paper (FIT, section 4.1)."""


def subject_for(checkpoint: Path | None, preset: str | None, task: str | None) -> Subject:
    """Return the model of a run folder, or of a preset; the usual preset of the task without either.

    Raises:
        FitError: Both were given, or a task for a run, which has one.
        CheckpointError: There is no such run.
        ConfigError: There is no such preset.
    """
    if checkpoint is not None and preset is not None:
        raise FitError("--checkpoint and --preset exclude each other; give one")
    if checkpoint is not None and task is not None:
        raise FitError("--task is for --preset; a run has its own task: leave it out")
    if checkpoint is not None:
        run = load_config(checkpoint)
        pixels = find_task(run.task).group_pixels(run)
        return Subject(
            name=str(checkpoint), task=run.task, config=run.model, group_pixels=pixels, ema=_keeps_average(run.task)
        )
    chosen = find_task(task or DEFAULT_TASK)
    name = preset or chosen.profiled_preset
    model = chosen.preset(name)
    return Subject(
        name=name,
        task=chosen.name,
        config=model.config,
        group_pixels=model.group_pixels,
        ema=_keeps_average(chosen.name),
    )


def _keeps_average(task: str) -> bool:
    return bool(task_options()[task].averages)


def conditions_for(
    device: str, precision: str, images: int, budget_bytes: int | None, method: str, ranks: int = 1
) -> Conditions:
    """Device, precision and memory. Without a GPU, and without asking for the CPU, one with 16 GiB is assumed.

    Raises:
        DeviceError: The device is not here.
        FitError: What several devices take is to be measured.
    """
    if ranks > 1 and method == "measure":
        raise FitError("--group-parallel: what devices that share an image take can only be estimated")
    here = device != "auto" or has_accelerator()
    runtime: Runtime | None = choose_runtime(device, precision) if here else None
    kind = "cuda" if runtime is None else runtime.device.type
    assumed = "bf16" if precision == "auto" else precision
    return Conditions(
        device=kind,
        precision=cast(Precision, assumed if runtime is None else runtime.precision),
        images=images,
        budget_bytes=budget_bytes or (CARD_BYTES if runtime is None else _memory_of(runtime)),
        method=cast(Method, method),
        runtime=runtime,
        ranks=ranks,
    )


def _memory_of(runtime: Runtime) -> int:
    if runtime.device.type == "cuda":
        return torch.cuda.get_device_properties(runtime.device).total_memory
    return free_bytes(runtime)
