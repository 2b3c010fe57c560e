"""From the words of the command line to a model and the conditions under which it is asked about."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch

from fitcli.device.runtime import Precision, Runtime, choose_runtime, has_accelerator
from fitcli.errors import FitError
from fitcli.memory.machine import free_bytes
from fitcli.profiling.rows import Conditions, Method, Subject
from fitcli.runs.config import load_config
from models.config import ClassifierConfig
from models.presets import classifier_preset, decoder_preset, denoiser_preset

CARD_BYTES = 16 << 30
"""Of the GPU that is asked about where there is none: the one of the paper (FIT, section 4.1)."""

CHANNELS, CLASSES, LEVELS = 3, 1000, 256
"""Of a preset: colour images, as many classes as ImageNet, 8 bits."""


def subject_for(checkpoint: Path | None, preset: str | None, task: str | None) -> Subject:
    """The model of a run folder, or of a preset; base without either.

    Raises:
        FitError: Both were given, or a task for a run, which has one.
        CheckpointError: There is no such run.
        ConfigError: There is no such preset.
    """
    if checkpoint is not None and preset is not None:
        raise FitError("--checkpoint and --preset exclude each other; give one")
    if checkpoint is not None and task is not None:
        raise FitError("--task is of a --preset; a run has its own")
    if checkpoint is not None:
        return _of_run(checkpoint)
    task = task or "classify"
    name = preset or ("base" if task != "autoregressive" else "small")
    if task == "classify":
        config = classifier_preset(name, CHANNELS, CLASSES)
        return Subject(name=name, task=task, config=config, patch=config.patch)
    if task == "diffusion":
        denoiser, patch = denoiser_preset(name, CHANNELS, 0)
        return Subject(name=name, task=task, config=denoiser, patch=patch)
    decoder, side = decoder_preset(name, CHANNELS, 0, LEVELS, 1)
    return Subject(name=name, task=task, config=decoder, patch=side)


def _of_run(folder: Path) -> Subject:
    run = load_config(folder)
    if isinstance(run.model, ClassifierConfig):
        patch = run.model.patch
    elif run.diffusion is not None:
        patch = run.diffusion.patch
    else:
        assert run.sequence is not None
        patch = run.sequence.patch[0]
    return Subject(name=str(folder), task=run.task, config=run.model, patch=patch)


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
