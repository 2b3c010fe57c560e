"""Run folders: everything needed to rebuild a model and to preprocess for it. The only place that touches weights.

    RUN/config.json           task, model, preprocessing, classes, and what else the task has to know
    RUN/model.safetensors     weights: the best by validation, or the last where there is no validation
    RUN/ema.safetensors       their moving average, where the run keeps one: what to generate with
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
from typing import Any, Generic, TypeVar, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from fitcli import __version__
from fitcli.atomic import replacing, write_text
from fitcli.diffusion.config import DiffusionConfig
from fitcli.errors import CheckpointError
from fitcli.preprocessing import Preprocessing
from fitcli.runtime import Runtime
from fitcli.sequences import SequenceConfig
from models.build import build
from models.config import ClassifierConfig, ConfigError, DecoderConfig, DenoiserConfig
from models.decoder import FITDecoder
from models.denoiser import FITDenoiser
from models.encoder import FITClassifier

FORMAT = 1
"""Of `config.json`; raised when old readers could not understand it."""

LARGEST_SIZE, MOST_LAYERS, LARGEST_GROUP = 2**16, 1000, 2**14
"""No model has larger sizes, more layers, or groups of more pixels per side: a file that says so is made up."""

LARGEST_CONFIG_BYTES = 8 << 20
"""Of `config.json`, most of which are names of classes. JSON takes twenty times as much when parsed."""

LARGEST_SIDE = 2**22
"""Pixels per side of the images that a model was trained at."""

CONFIG, WEIGHTS, EMA_WEIGHTS = "config.json", "model.safetensors", "ema.safetensors"

TaskConfig = ClassifierConfig | DenoiserConfig | DecoderConfig
TaskModel = FITClassifier | FITDenoiser | FITDecoder

MODELS: dict[str, type[TaskConfig]] = {
    "classify": ClassifierConfig,
    "diffusion": DenoiserConfig,
    "autoregressive": DecoderConfig,
}
"""The kind of model that each task trains."""

USED_BY = {
    "classify": "`fit classify` and `fit embed`",
    "diffusion": "`fit generate`",
    "autoregressive": "`fit generate`",
}
"""What to do with a run of a task."""

M_co = TypeVar("M_co", bound=TaskModel, covariant=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """What `config.json` says.

    Attributes:
        task: A key of `MODELS`.
        model: The architecture.
        preprocessing: What the model expects of pixels.
        classes: Names, in the order of the logits or of the labels of a condition; empty where there are none.
        diffusion: Of the task "diffusion"; None for the others.
        sequence: Of the task "autoregressive"; None for the others.
    """

    task: str
    model: TaskConfig
    preprocessing: Preprocessing
    classes: tuple[str, ...]
    diffusion: DiffusionConfig | None = None
    sequence: SequenceConfig | None = None

    def __post_init__(self) -> None:
        if self.task not in MODELS:
            raise CheckpointError(f"task {self.task!r} is not known to fit {__version__}")
        if not isinstance(self.model, MODELS[self.task]):
            raise CheckpointError(f"task {self.task!r} does not go with a {type(self.model).__name__}")
        if (self.diffusion is not None) != (self.task == "diffusion"):
            raise CheckpointError(f"task {self.task!r} does not go with the diffusion settings {self.diffusion}")
        if (self.sequence is not None) != (self.task == "autoregressive"):
            raise CheckpointError(f"task {self.task!r} does not go with the sequence settings {self.sequence}")
        for trained in (self.diffusion, self.sequence):
            if trained is not None and max(trained.size) > LARGEST_SIDE:
                raise CheckpointError(f"images of {trained.size} pixels are not to be believed")
        _compare_numbers(self._numbers())

    def _numbers(self) -> list[tuple[str, int, str, int]]:
        """What has to agree: its name and number, and the name and number that the model has."""
        channels, classes = self.preprocessing.channels, len(self.classes)
        match self.model, self.diffusion, self.sequence:
            case ClassifierConfig() as model, _, _:
                return [
                    ("class names", classes, "classes", model.classes),
                    ("channels of pixels", channels, "channels", model.channels),
                ]
            case DenoiserConfig() as model, DiffusionConfig() as diffusion, _:
                values = diffusion.patch**2 * channels
                return [
                    ("class names", classes, "condition values", model.condition_width or 0),
                    ("values of a patch", values, "values", model.values),
                    ("values of a patch", values, "predicted values", model.out_values),
                ]
            case DecoderConfig() as model, _, SequenceConfig() as sequence:
                values = sequence.patch[0] * sequence.patch[1] * channels
                return [
                    ("class names", classes, "classes", model.classes),
                    ("values of a patch", values, "tokens", model.tokens),
                    ("levels", sequence.levels, "words", model.vocabulary),
                    ("starts", sequence.starts(classes), "starts", model.starts),
                ]
        raise AssertionError(self.task)


def _compare_numbers(numbers: list[tuple[str, int, str, int]]) -> None:
    for name, found, wanted, expected in numbers:
        if found != expected:
            raise CheckpointError(f"{found} {name} for a model of {expected} {wanted}")


@dataclass(frozen=True, slots=True)
class Checkpoint(Generic[M_co]):
    """A trained model with what it was trained as."""

    model: M_co
    config: RunConfig


def is_run(folder: Path) -> bool:
    """Whether a folder holds a run."""
    return (folder / CONFIG).is_file()


def save_config(folder: Path, config: RunConfig) -> None:
    """Write `config.json`."""
    settings = {name: value for name, value in dataclasses.asdict(config).items() if value is not None}
    document = {"format": FORMAT, "fit": __version__, **settings}
    write_text(folder / CONFIG, json.dumps(document, indent=2) + "\n")


def save_weights(folder: Path, model: nn.Module, name: str = WEIGHTS) -> None:
    """Write `model.safetensors`, or another file of weights: the old one or the new one is there at any moment."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with replacing(folder / name) as temporary:
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
        if path.stat().st_size > LARGEST_CONFIG_BYTES:
            raise CheckpointError(f"{path.stat().st_size:,} bytes of settings are not to be believed")
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["format"] != FORMAT:
            raise CheckpointError(f"{path}: format {document['format']}, this fit reads {FORMAT}; install another fit")
        kind = MODELS.get(document["task"])
        if kind is None:
            raise CheckpointError(f"task {document['task']!r} is not known to fit {__version__}")
        diffusion, sequence = document.get("diffusion"), document.get("sequence")
        return RunConfig(
            task=document["task"],
            model=_believable(kind.from_dict(document["model"])),
            preprocessing=Preprocessing(**_with_tuples(document["preprocessing"])),
            classes=tuple(str(name) for name in document["classes"]),
            diffusion=None if diffusion is None else DiffusionConfig(**_with_tuples(diffusion)),
            sequence=None if sequence is None else SequenceConfig(**_with_tuples(sequence)),
        )
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    except ConfigError as error:
        raise CheckpointError(f"{path}: no model: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError) as error:
        raise CheckpointError(f"{path}: not a run's settings ({type(error).__name__}: {error})") from error


def _with_tuples(values: dict[str, Any]) -> dict[str, Any]:
    """JSON knows lists alone."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def _believable(model: TaskConfig) -> TaskConfig:
    """Refuse what would take for ever to build, or more memory than there is to run."""
    layers = sum(map(sum, model.segments))
    if layers > MOST_LAYERS:
        raise CheckpointError(f"a model of {layers} layers is not to be believed")
    if isinstance(model, ClassifierConfig) and model.patch * model.group > LARGEST_GROUP:
        raise CheckpointError(f"groups of {model.patch * model.group} pixels per side are not to be believed")
    for name, value in dataclasses.asdict(model).items():
        if isinstance(value, int) and value > (LARGEST_GROUP**2 if name == "tokens" else LARGEST_SIZE):
            raise CheckpointError(f"{name} {value} is not to be believed")
    return model


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


def expect_task(folder: Path, task: str) -> RunConfig:
    """Read `config.json` of a run that has to be of a task.

    Raises:
        CheckpointError: It cannot be read, or the run is of another task.
    """
    config = load_config(folder)
    if config.task != task:
        raise CheckpointError(
            f"{folder}: was trained with --task {config.task}, which is for {USED_BY[config.task]}; "
            f"give a run of --task {task}"
        )
    return config


def _load(folder: Path, config: RunConfig, runtime: Runtime, ema: bool) -> Checkpoint[TaskModel]:
    model = build(config.model, "meta")
    name = EMA_WEIGHTS if ema and (folder / EMA_WEIGHTS).exists() else WEIGHTS
    load_weights(folder, model, runtime.device, name)
    return Checkpoint(model.eval().requires_grad_(False), config)


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
