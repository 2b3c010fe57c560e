"""The weights of a run folder: the only module that reads and writes them. `config.py` has the rest of the folder.

    RUN/config.json           task, model, preprocessing, classes, and the part of the task
    RUN/model.safetensors     weights: the best by validation, or the last without validation
    RUN/ema.safetensors       moving average of the weights, if the run keeps one
    RUN/last/                 last weights, a run folder of its own
    RUN/training/             what resuming needs
    RUN/metrics.jsonl         one line per report

Weights are safetensors, settings are JSON. No pickle is loaded from a run folder. A `--state` folder is read with
`weights_only=True`, see `streaming/journal.py`.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from fitcli.device.runtime import Runtime
from fitcli.errors import CheckpointError
from fitcli.files.publish import publish_file
from fitcli.runs.config import RunConfig, identity
from fitcli.runs.start_checks import HEAD, STEM, check_start, has_other_head, has_other_stem
from fitcli.streaming.token_store import bytes_of
from models.build import build
from models.decoder import FITDecoder
from models.denoiser import FITDenoiser
from models.dense import FITDense
from models.encoder import FITClassifier

WEIGHTS, EMA_WEIGHTS = "model.safetensors", "ema.safetensors"

TaskModel = FITClassifier | FITDense | FITDenoiser | FITDecoder

M_co = TypeVar("M_co", bound=TaskModel, covariant=True)


@dataclass(frozen=True, slots=True)
class Checkpoint(Generic[M_co]):
    """A trained model with the config of its run.

    Attributes:
        model: The model.
        config: Config of the run.
        folder: Folder of the run; None for a model that is being trained.
    """

    model: M_co
    config: RunConfig
    folder: Path | None = None

    def chosen(self, choices: Mapping[str, Any]) -> Checkpoint[M_co]:
        """Return the same model with what a user chooses for its answers, see `TaskDetails.chosen`."""
        return replace(self, config=replace(self.config, details=self.config.details.chosen(choices)))


def save_weights(folder: Path, model: nn.Module, name: str = WEIGHTS) -> None:
    """Write the weights of a model as a file of a run folder, whole or not at all."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    save_tensors(folder / name, tensors)


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file, whole or not at all.

    Args:
        path: File to write.
        tensors: Contiguous tensors in host memory, by name.

    Raises:
        OSError: The file cannot be written, for example on a full disk.
    """
    with publish_file(path) as new:
        write_tensors(new, tensors)


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file in place, for a path that nobody reads before this function returns."""
    try:
        save_file(dict(tensors), path)
    except SafetensorError as error:
        # The library gives the error number of the system only within its message.
        code = re.search(r"os error (\d+)", str(error))
        if code is None:
            raise OSError(errno.EIO, str(error), str(path)) from None
        raise OSError(int(code[1]), os.strerror(int(code[1])), str(path)) from None


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file by name, in host memory.

    Raises:
        OSError: The file cannot be read.
        ValueError: The file is damaged.
    """
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(str(error)) from None


def model_hash(checkpoint: Checkpoint[TaskModel]) -> str:
    """Return the SHA-256 of the weights and the config, in hexadecimal."""
    digest = sha256(identity(checkpoint.config).encode())
    for name, tensor in sorted(checkpoint.model.state_dict().items()):
        digest.update(name.encode())
        digest.update(bytes_of(tensor.cpu().contiguous()))
    return digest.hexdigest()


def load_model(folder: Path, config: RunConfig, runtime: Runtime, ema: bool, cast_ahead: bool) -> Checkpoint[Any]:
    """Load a trained model, ready for inference. `tasks.load_run` also reads and checks the config.

    Args:
        folder: Run folder.
        config: Contents of its `config.json`.
        runtime: Device and precision.
        ema: Load the moving average of the weights, if the run has one.
        cast_ahead: Hold the weights in the precision in which they are multiplied.

    Raises:
        CheckpointError: The weights are missing, damaged or of another model.
    """
    model = build(config.model, "meta")
    name = EMA_WEIGHTS if ema and (folder / EMA_WEIGHTS).exists() else WEIGHTS
    load_weights(folder, model, runtime.device, name)
    model.eval().requires_grad_(False)
    config.details.prepare(model)
    if cast_ahead:
        runtime.prepare(model)
    runtime.compile(model)
    return Checkpoint(model, config, folder)


def start_from(
    folder: Path, before: RunConfig, model: nn.Module, config: RunConfig, class_weights: tuple[str, ...]
) -> None:
    """Give a model the weights of another run. Weights of classes, stem or head that differ stay as they are.

    Args:
        folder: Folder of the other run; its moving average is taken if it has one.
        before: Config of the other run. If it is of another task, only the weights that both models have are taken.
        model: A model with initial weights, not on the meta device.
        config: Its config.
        class_weights: Prefixes of the names of the weights that depend on the classes.

    Raises:
        CheckpointError: The weights are damaged, or of another architecture.
    """
    check_start(folder, before, config)
    others = [STEM] * has_other_stem(before, config) + [HEAD] * has_other_head(before, config)
    anew = (*class_weights, *others)
    other = build(before.model, "meta")
    name = EMA_WEIGHTS if (folder / EMA_WEIGHTS).exists() else WEIGHTS
    load_weights(folder, other, torch.device("cpu"), name)
    own, weights = model.state_dict(), other.state_dict()
    taken = {name: tensor for name, tensor in weights.items() if name in own and own[name].shape == tensor.shape}
    if (before.classes, before.targets) != (config.classes, config.targets):
        taken = {name: tensor for name, tensor in taken.items() if not name.startswith(class_weights)}
    taken = {name: tensor for name, tensor in taken.items() if not name.startswith(tuple(others))}
    expected = own.keys() | weights.keys() if before.task == config.task else own.keys() & weights.keys()
    left = sorted(name for name in expected if name not in taken)
    if strange := next((name for name in left if not name.startswith(anew)), None):
        raise CheckpointError(
            f"--start-from {folder}: is of another architecture ({strange}); give the same --preset and "
            "the same options of the model"
        )
    model.load_state_dict(taken, strict=False)


def load_weights(folder: Path, model: nn.Module, device: torch.device, name: str = WEIGHTS) -> None:
    """Load the weights of a run folder into a model, which may be on the meta device.

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


def _compare(path: Path, shapes: dict[str, Any], expected: dict[str, Any]) -> None:
    if missing := sorted(set(expected) - set(shapes)):
        raise CheckpointError(f"{path}: not the weights of this model: {missing[0]} is missing ({len(missing)} in all)")
    if extra := sorted(set(shapes) - set(expected)):
        raise CheckpointError(f"{path}: not the weights of this model: unexpected {extra[0]} ({len(extra)} in all)")
    for name, shape in expected.items():
        if shapes[name] != shape:
            raise CheckpointError(f"{path}: {name} is {shapes[name]}, the model needs {shape}")
