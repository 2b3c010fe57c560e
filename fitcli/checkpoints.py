"""Run folders: everything needed to rebuild a model and to preprocess for it. The only place that touches weights.

    RUN/config.json           task, model, preprocessing, classes
    RUN/model.safetensors     weights: the best by validation, or the last where there is no validation
    RUN/last/                 the last weights, a run folder of its own
    RUN/training/             what resuming needs
    RUN/metrics.jsonl         one line per report

Weights are safetensors, settings are JSON; no pickle is ever loaded from a path that a user gives.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from fitcli import __version__
from fitcli.atomic import replacing, write_text
from fitcli.errors import CheckpointError
from fitcli.preprocessing import Preprocessing
from fitcli.runtime import Runtime
from models.build import build
from models.config import ClassifierConfig, ConfigError
from models.encoder import FITClassifier

FORMAT = 1
"""Of `config.json`; raised when old readers could not understand it."""

LARGEST_SIZE, MOST_LAYERS, LARGEST_GROUP = 2**16, 1000, 2**14
"""No model has larger sizes, more layers, or groups of more pixels per side: a file that says so is made up."""

CONFIG, WEIGHTS = "config.json", "model.safetensors"


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """What `config.json` says.

    Attributes:
        task: "classify".
        model: The architecture.
        preprocessing: What the model expects of pixels.
        classes: Names, in the order of the logits.
    """

    task: str
    model: ClassifierConfig
    preprocessing: Preprocessing
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.task != "classify":
            raise CheckpointError(f"task {self.task!r} is not known to fit {__version__}")
        if len(self.classes) != self.model.classes:
            raise CheckpointError(f"{len(self.classes)} class names for a model of {self.model.classes} classes")
        if self.preprocessing.channels != self.model.channels:
            raise CheckpointError(
                f"preprocessing for {self.preprocessing.channels} channels, model of {self.model.channels}"
            )


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A trained model with what it was trained as."""

    model: FITClassifier
    config: RunConfig


def is_run(folder: Path) -> bool:
    """Whether a folder holds a run."""
    return (folder / CONFIG).is_file()


def save_config(folder: Path, config: RunConfig) -> None:
    """Write `config.json`."""
    document = {"format": FORMAT, "fit": __version__, **dataclasses.asdict(config)}
    write_text(folder / CONFIG, json.dumps(document, indent=2) + "\n")


def save_weights(folder: Path, model: nn.Module) -> None:
    """Write `model.safetensors`: the old file or the new one is there at any moment."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with replacing(folder / WEIGHTS) as temporary:
        save_file(tensors, temporary)


def load_config(folder: Path) -> RunConfig:
    """Read `config.json`.

    Raises:
        CheckpointError: There is none, or it does not describe a model of this version of fit.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise CheckpointError(f"{folder}: no run folder (it has no {CONFIG}); give the --out folder of `fit train`")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["format"] != FORMAT:
            raise CheckpointError(f"{path}: format {document['format']}, this fit reads {FORMAT}; install another fit")
        preprocessing: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in document["preprocessing"].items()
        }
        return RunConfig(
            task=document["task"],
            model=_believable(ClassifierConfig.from_dict(document["model"])),
            preprocessing=Preprocessing(**preprocessing),
            classes=tuple(str(name) for name in document["classes"]),
        )
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    except ConfigError as error:
        raise CheckpointError(f"{path}: no model: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError) as error:
        raise CheckpointError(f"{path}: not a run's settings ({type(error).__name__}: {error})") from error


def _believable(model: ClassifierConfig) -> ClassifierConfig:
    """Refuse what would take for ever to build, or more memory than there is to run."""
    layers = sum(map(sum, model.segments))
    if layers > MOST_LAYERS:
        raise CheckpointError(f"a model of {layers} layers is not to be believed")
    if model.patch * model.group > LARGEST_GROUP:
        raise CheckpointError(f"groups of {model.patch * model.group} pixels per side are not to be believed")
    for name, value in dataclasses.asdict(model).items():
        if isinstance(value, int) and value > (LARGEST_GROUP**2 if name == "tokens" else LARGEST_SIZE):
            raise CheckpointError(f"{name} {value} is not to be believed")
    return model


def load_checkpoint(folder: Path, runtime: Runtime) -> Checkpoint:
    """Load a trained model, ready for inference.

    Raises:
        CheckpointError: The folder holds no run, or its weights are damaged or of another model.
    """
    config = load_config(folder)
    model = build(config.model, "meta")
    load_weights(folder, model, runtime.device)
    return Checkpoint(model.eval().requires_grad_(False), config)


def load_weights(folder: Path, model: nn.Module, device: torch.device) -> None:
    """Replace the weights of a model, which may be on the meta device, by those of a run folder.

    Raises:
        CheckpointError: The file is missing or damaged, or its tensors are not exactly those of the model.
    """
    path = folder / WEIGHTS
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
