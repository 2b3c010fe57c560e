"""The subject of `fit profile-memory`: a model, and the conditions under which its memory is estimated or measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import torch

from fitcli.device.runtime import Precision, Runtime, choose_runtime, has_accelerator
from fitcli.errors import FitError
from fitcli.memory.machine import free_bytes
from fitcli.runs.weights import EMA_WEIGHTS
from fitcli.tasks.load import load_config
from fitcli.tasks.presets import chosen_preset
from fitcli.tasks.registry import DEFAULT_TASK, find_task, task_options
from models.config import TrunkConfig

Method = Literal["auto", "estimate", "measure"]

MOST_RANKS = 1024
"""Largest number of devices that may share an image. The dry run of a step gathers the latents of all of them."""

DEFAULT_GPU_BYTES = 16 << 30
"""Memory of the GPU that is assumed on a machine without one: that of the paper (FIT, section 4.1)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """The model whose memory is estimated or measured.

    Attributes:
        name: Name of the preset or run folder.
        task: Name of the task.
        config: Architecture.
        group_pixels: Side of a group, in pixels.
        ema: Whether training keeps a moving average of the weights.
        crops: Whether training leaves out pixels that do not fill a group; otherwise images are padded.
    """

    name: str
    task: str
    config: TrunkConfig
    group_pixels: int
    ema: bool
    crops: bool = False

    def side(self, res: int, training: bool) -> int:
        """Return the groups per side of a square image of `res` pixels per side, at least 1.

        The image is padded to whole groups; for training, `crops` leaves out what does not fill a group instead.
        """
        return max(1, res // self.group_pixels if training and self.crops else -(-res // self.group_pixels))


@dataclass(frozen=True, kw_only=True, slots=True)
class Conditions:
    """The conditions of estimates and measurements.

    Attributes:
        device: Kind of the device: "cpu", "cuda" or "mps".
        precision: Precision of matrix products.
        images: Images of a training batch.
        budget_bytes: Memory of the device.
        method: Whether to measure.
        runtime: Device to measure on; None if this machine has none of that kind.
        ranks: Number of devices that share each image in training; the rows are about one of them.
    """

    device: str
    precision: Precision
    images: int
    budget_bytes: int
    method: Method
    runtime: Runtime | None
    ranks: int = 1


def subject_for(checkpoint: Path | None, preset: str | None, task: str | None) -> Subject:
    """Return the model of a run folder or of a preset; without either, the usual preset of the task.

    Raises:
        FitError: Both were given, or a task for a run, which has one; or there is no such preset, or no such model.
        CheckpointError: There is no such run.
    """
    if checkpoint is not None and preset is not None:
        raise FitError("--checkpoint and --preset exclude each other; give one")
    if checkpoint is not None and task is not None:
        raise FitError("--task is for --preset; a run has its own task: leave it out")
    if checkpoint is not None:
        run = load_config(checkpoint)
        return Subject(
            name=str(checkpoint),
            task=run.task,
            config=run.model,
            group_pixels=find_task(run.task).group_pixels(run),
            ema=(checkpoint / EMA_WEIGHTS).exists(),
            crops=find_task(run.task).crops_to_groups,
        )
    chosen = find_task(task or DEFAULT_TASK)
    name = preset or chosen.profiled_preset
    with chosen_preset(task_options()[chosen.name].preset_group, name, {}):
        model = chosen.preset(name)
    return Subject(
        name=name,
        task=chosen.name,
        config=model.config,
        group_pixels=model.group_pixels,
        ema=bool(task_options()[chosen.name].default_of("ema", name)),
        crops=chosen.crops_to_groups,
    )


def conditions_for(
    device: str, precision: str, images: int, budget_bytes: int | None, method: str, ranks: int = 1
) -> Conditions:
    """Return the conditions for options of the command line.

    Device "auto" on a machine without a GPU assumes one with 16 GiB.

    Raises:
        DeviceError: This machine has no such device.
        FitError: Several devices are to be measured, or there are more than any machines have.
    """
    if ranks > MOST_RANKS:
        raise FitError(f"--group-parallel {ranks}: no machines have so many devices; give at most {MOST_RANKS}")
    if ranks > 1 and method == "measure":
        raise FitError("--group-parallel: several devices can only be estimated; leave out --method measure")
    is_here = device != "auto" or has_accelerator()
    runtime: Runtime | None = choose_runtime(device, precision) if is_here else None
    kind = "cuda" if runtime is None else runtime.device.type
    assumed = "bf16" if precision == "auto" else precision
    return Conditions(
        device=kind,
        precision=cast(Precision, assumed if runtime is None else runtime.precision),
        images=images,
        budget_bytes=budget_bytes or (DEFAULT_GPU_BYTES if runtime is None else _memory_of(runtime)),
        method=cast(Method, method),
        runtime=runtime,
        ranks=ranks,
    )


def _memory_of(runtime: Runtime) -> int:
    if runtime.device.type == "cuda":
        return torch.cuda.get_device_properties(runtime.device).total_memory
    return free_bytes(runtime)
