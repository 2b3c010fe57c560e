"""Run folders and their weights: the only place that touches those. `run_config.py` knows the rest.

    RUN/config.json           task, model, preprocessing, classes, and what else the task has to know
    RUN/model.safetensors     weights: the best by validation, or the last where there is no validation
    RUN/ema.safetensors       their moving average, where the run keeps one: what to generate with
    RUN/last/                 the last weights, a run folder of its own
    RUN/training/             what resuming needs
    RUN/metrics.jsonl         one line per report

Weights are safetensors, settings are JSON; no pickle is ever loaded from a path that a user gives.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from fitcli.device.runtime import Runtime
from fitcli.errors import CheckpointError
from fitcli.files.atomic import replacing
from fitcli.runs.config import RunConfig, load_config
from fitcli.streaming.token_store import bytes_of
from models.build import build
from models.decoder import FITDecoder
from models.denoiser import FITDenoiser
from models.encoder import FITClassifier

WEIGHTS, EMA_WEIGHTS = "model.safetensors", "ema.safetensors"

TaskModel = FITClassifier | FITDenoiser | FITDecoder

USED_BY = {
    "classify": "`fit classify` and `fit embed`",
    "diffusion": "`fit generate`",
    "autoregressive": "`fit generate`",
}
"""What to do with a run of a task."""

M_co = TypeVar("M_co", bound=TaskModel, covariant=True)


@dataclass(frozen=True, slots=True)
class Checkpoint(Generic[M_co]):
    """A trained model with what it was trained as."""

    model: M_co
    config: RunConfig


def save_weights(folder: Path, model: nn.Module, name: str = WEIGHTS) -> None:
    """Write `model.safetensors`, or another file of weights: the old one or the new one is there at any moment."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    save_tensors(folder / name, tensors)


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as safetensors: the old file or the new one is there at any moment.

    Args:
        path: The file.
        tensors: By name, contiguous, in host memory.

    Raises:
        OSError: They cannot be written: the disk is full, perhaps.
    """
    with replacing(path) as temporary:
        write_tensors(temporary, tensors)


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """The same, for a file that nobody reads until all of it is there."""
    try:
        save_file(dict(tensors), path)
    except SafetensorError as error:
        # The library tells the system's error in words alone.
        code = re.search(r"os error (\d+)", str(error))
        if code is None:
            raise OSError(errno.EIO, str(error), str(path)) from None
        raise OSError(int(code[1]), os.strerror(int(code[1])), str(path)) from None


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors in a safetensors file by name, in host memory.

    Raises:
        OSError: It cannot be read.
        ValueError: It is damaged.
    """
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(str(error)) from None


def model_hash(checkpoint: Checkpoint[TaskModel]) -> str:
    """SHA-256 of weights and settings, in hexadecimal."""
    digest = sha256(repr(checkpoint.config).encode())
    for name, tensor in sorted(checkpoint.model.state_dict().items()):
        digest.update(name.encode())
        digest.update(bytes_of(tensor.cpu().contiguous()))
    return digest.hexdigest()


def load_checkpoint(folder: Path, runtime: Runtime, ema: bool = False) -> Checkpoint[TaskModel]:
    """Load a trained model of any task, ready for inference.

    Args:
        folder: Of the run.
        runtime: Where to.
        ema: The moving average of the weights, where the run has kept one.

    Raises:
        CheckpointError: The folder holds no run, or its weights are damaged or of another model.
    """
    return _load(folder, load_config(folder), runtime, ema)


def load_classifier(folder: Path, runtime: Runtime, ema: bool = True) -> Checkpoint[FITClassifier]:
    """The same for a classifier alone; by default what was validated, which is the average where there is one.

    Raises:
        CheckpointError: As above, or the run is of another task.
    """
    return cast(Checkpoint[FITClassifier], _load(folder, expect_task(folder, "classify"), runtime, ema))


def load_denoiser(folder: Path, runtime: Runtime, ema: bool = True) -> Checkpoint[FITDenoiser]:
    """The same for a diffusion model alone; by default the moving average of its weights.

    Raises:
        CheckpointError: As above, or the run is of another task.
    """
    return cast(Checkpoint[FITDenoiser], _load(folder, expect_task(folder, "diffusion"), runtime, ema))


def load_decoder(folder: Path, runtime: Runtime, ema: bool = True) -> Checkpoint[FITDecoder]:
    """The same for an autoregressive model alone; by default the moving average of its weights.

    Raises:
        CheckpointError: As above, or the run is of another task.
    """
    return cast(Checkpoint[FITDecoder], _load(folder, expect_task(folder, "autoregressive"), runtime, ema))


def expect_task(folder: Path, *tasks: str) -> RunConfig:
    """Read `config.json` of a run that has to be of one of some tasks.

    Raises:
        CheckpointError: It cannot be read, or the run is of another task.
    """
    config = load_config(folder)
    if config.task not in tasks:
        raise CheckpointError(
            f"{folder}: was trained with --task {config.task}, which is for {USED_BY[config.task]}; "
            f"give a run of --task {' or '.join(tasks)}"
        )
    return config


def _load(folder: Path, config: RunConfig, runtime: Runtime, ema: bool) -> Checkpoint[TaskModel]:
    model = build(config.model, "meta")
    name = EMA_WEIGHTS if ema and (folder / EMA_WEIGHTS).exists() else WEIGHTS
    load_weights(folder, model, runtime.device, name)
    model.eval().requires_grad_(False)
    if isinstance(model, FITClassifier):
        # Not what generates: decoders draw in float32 whatever the precision, and images name the hash of their model.
        runtime.prepare(model)
    runtime.compile(model)
    return Checkpoint(model, config)


ANSWERS = ("head.score.", "head.classify.")
"""Names of weights that belong to the classes of a run."""


def start_from(folder: Path, model: nn.Module, config: RunConfig) -> None:
    """Give a model, which is on no meta device, the weights of another run; where that knows other classes, all but
    those of the answers, which stay as they are.

    Args:
        folder: Of the other run; its moving average is taken where it has kept one.
        model: To begin with.
        config: Of the run that it is for.

    Raises:
        CheckpointError: The folder holds no such run, or one of another task or architecture.
    """
    before = expect_task(folder, config.task)
    other = build(before.model, "meta")
    name = EMA_WEIGHTS if (folder / EMA_WEIGHTS).exists() else WEIGHTS
    load_weights(folder, other, torch.device("cpu"), name)
    own, found = model.state_dict(), other.state_dict()
    taken = {name: tensor for name, tensor in found.items() if name in own and own[name].shape == tensor.shape}
    if (before.classes, before.tasks) != (config.classes, config.tasks):
        taken = {name: tensor for name, tensor in taken.items() if not name.startswith(ANSWERS)}
    left = sorted(name for name in own.keys() | found.keys() if name not in taken)
    if strange := next((name for name in left if not name.startswith(ANSWERS)), None):
        raise CheckpointError(
            f"--start-from {folder}: is of another architecture ({strange}); give the same --preset and --patch"
        )
    model.load_state_dict(taken, strict=False)


def load_weights(folder: Path, model: nn.Module, device: torch.device, name: str = WEIGHTS) -> None:
    """Replace the weights of a model, which may be on the meta device, by those of a run folder.

    Raises:
        CheckpointError: The file is missing or damaged, or its tensors are not exactly those of the model.
    """
    path = folder / name
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; the run has not saved its weights yet")
    expected = model.state_dict()
    try:
        with safe_open(path, framework="pt") as file:
            shapes = {name: list(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            _compare(path, shapes, {name: list(tensor.shape) for name, tensor in expected.items()})
            weights = {name: file.get_tensor(name).to(expected[name].dtype) for name in expected}
    except (SafetensorError, OSError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{path}: damaged weights ({error}); use another checkpoint") from error
    for name, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            raise CheckpointError(f"{path}: tensor {name} holds NaN or infinity; use an earlier checkpoint")
    model.load_state_dict({name: tensor.to(device) for name, tensor in weights.items()}, assign=True)


def _compare(path: Path, found: dict[str, Any], expected: dict[str, Any]) -> None:
    if missing := sorted(set(expected) - set(found)):
        raise CheckpointError(f"{path}: not the weights of this model: {missing[0]} is missing ({len(missing)} in all)")
    if extra := sorted(set(found) - set(expected)):
        raise CheckpointError(f"{path}: not the weights of this model: unexpected {extra[0]} ({len(extra)} in all)")
    for name, shape in expected.items():
        if found[name] != shape:
            raise CheckpointError(f"{path}: {name} is {found[name]}, the model needs {shape}")
