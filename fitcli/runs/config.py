"""The file `config.json` of a run folder: task, model, preprocessing, classes, and the part that belongs to the task.

This module names no task: each task adds its part, a subclass of `TaskDetails`.
"""

from __future__ import annotations

import dataclasses
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

from fitcli import __version__
from fitcli.errors import CheckpointError, FitError
from fitcli.files.publish import write_text
from fitcli.patches.preprocessing import Preprocessing
from fitcli.runs.targets import Target
from models.checks import ConfigError
from models.config import OMITTED, ClassifierConfig, DecoderConfig, DenoiserConfig, DenseConfig, EncoderConfig

CONFIG = "config.json"

FORMAT = 1
"""Version of `config.json`; it grows when earlier readers could not understand the file."""

LATER_SETTINGS: dict[str, Any] = {"tasks": (), "attention_start": "reference"}
"""Settings of models that earlier versions did not have, with their value then; left out of the file when equal."""

LATER_PIXEL_RULES: dict[str, Any] = {"rules": 1, "uint16_white": None, "features": False}
"""Entries of the preprocessing that earlier versions did not have, with their value then; left out when equal."""

OPTIONAL_PIXEL_RULES = (
    "background", "read_mpp", "read_level", "read_series", "read_z", "read_t", "read_channels", "trained_sides",
    "trained_scales", "trained_patch",
)  # fmt: skip
"""Entries of the preprocessing that are left out when they are None."""

LARGEST_SIZE, MOST_LAYERS, LARGEST_GROUP = 2**16, 1000, 2**14
"""Limits of a model: largest size, number of layers, pixels per side of a group. A file beyond them is forged."""

LARGEST_CONFIG_BYTES = 8 << 20
"""Size limit of `config.json`, which holds mostly names of classes. Parsed JSON takes twenty times as much memory."""

LARGEST_SIDE = 2**22
"""Limit of the side of training images, in pixels."""

ModelConfig = ClassifierConfig | DenseConfig | DenoiserConfig | DecoderConfig


class Agreement(NamedTuple):
    """Two numbers of a config that have to be equal.

    Attributes:
        name: Noun for the number in the config, such as "class names".
        number: The number in the config.
        model_name: Noun for the number in the model.
        model_number: The number in the model.
    """

    name: str
    number: int
    model_name: str
    model_number: int


class TaskDetails(ABC):
    """The part of a config that belongs to one task: a frozen dataclass that a task derives from this.

    Attributes:
        task: Name of the task.
        model_type: Class of the config of its models.
    """

    __slots__ = ()

    task: ClassVar[str]
    model_type: ClassVar[type[ModelConfig]]

    @property
    def targets(self) -> tuple[Target, ...]:
        """All targets, if there are several or one is multi-label; else empty."""
        return ()

    @property
    def trained_size(self) -> tuple[int, int] | None:
        """(height, width) of the training images in pixels, if the model depends on it; else None."""
        return None

    def with_decisions(self, decisions: Mapping[str, Any]) -> Self:
        """Return these details with entries that follow from the validation of the weights; tasks without any ignore
        them. No weight depends on them, nor the hash of the model.
        """
        return self

    def chosen(self, choices: Mapping[str, Any]) -> Self:
        """Return these details with what a user chooses for the answers of a run, by the names of the options.

        Raises:
            FitError: Runs of the task have no such choice.
        """
        for name in choices:
            raise FitError(f"--{name.replace('_', '-')} changes nothing for a run of --task {self.task}; leave it out")
        return self

    def prepare(self, model: Any) -> None:  # noqa: B027  (most tasks have nothing to do)
        """Give a trained model what follows from `with_decisions`, for inference."""

    @abstractmethod
    def agreements(self, config: RunConfig) -> list[Agreement]:
        """Return the numbers of a config of this task that have to be equal."""

    @abstractmethod
    def identity(self) -> str:
        """Return the text of this part in `identity` of a config."""

    @abstractmethod
    def to_document(self) -> dict[str, Any]:
        """Return the entries that this part adds to `config.json`."""

    @classmethod
    @abstractmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Rebuild this part from the entries of `config.json`.

        Raises:
            ValueError, KeyError, TypeError, ConfigError: The entries are missing or impossible.
        """


FindDetails = Callable[[str], type[TaskDetails] | None]
"""From the name of a task to the class of its details; None for an unknown task."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """The contents of `config.json`.

    Attributes:
        model: Architecture.
        preprocessing: Pixel format and normalisation that the model expects.
        classes: Names of the classes, in the order of the logits or of the labels of a condition; empty without
            classes. With several targets, the classes of the first.
        details: The part that belongs to the task.

    Raises:
        CheckpointError: The parts contradict each other.
    """

    model: ModelConfig
    preprocessing: Preprocessing
    classes: tuple[str, ...]
    details: TaskDetails

    def __post_init__(self) -> None:
        if not isinstance(self.model, self.details.model_type):
            raise CheckpointError(f"task {self.task!r} does not go with a {type(self.model).__name__}")
        # Of a new run, too: what cannot be read must not be written.
        _check_possible(self.model)
        if self.details.trained_size is not None and max(self.details.trained_size) > LARGEST_SIDE:
            raise CheckpointError(f"training images of {self.details.trained_size} pixels are impossible")
        if self.targets and self.targets[0].classes != self.classes:
            raise CheckpointError(f"the first target does not have the classes {', '.join(self.classes)}")
        for each in self.details.agreements(self):
            if each.number != each.model_number:
                raise CheckpointError(f"{each.number} {each.name} for a model of {each.model_number} {each.model_name}")

    @property
    def task(self) -> str:
        """Name of the task."""
        return self.details.task

    @property
    def targets(self) -> tuple[Target, ...]:
        """All targets, if there are several or one is multi-label; else empty."""
        return self.details.targets

    @property
    def class_targets(self) -> tuple[Target, ...]:
        """All targets with classes, even if there is only one."""
        return self.targets or (Target("label", "single-label", self.classes),)


def is_run(folder: Path) -> bool:
    """Return whether a folder holds a run."""
    return (folder / CONFIG).is_file()


def config_document(config: RunConfig) -> dict[str, Any]:
    """Return the entries of `config.json` but for its format and the version of its writer."""
    model = config.model.to_dict()
    for name, default in LATER_SETTINGS.items():
        if model.get(name) == default:
            del model[name]
    preprocessing = dataclasses.asdict(config.preprocessing)
    for name, default in {**LATER_PIXEL_RULES, **dict.fromkeys(OPTIONAL_PIXEL_RULES)}.items():
        if preprocessing[name] == default:
            del preprocessing[name]
    document = {"task": config.task, "model": model, "preprocessing": preprocessing, "classes": list(config.classes)}
    return document | config.details.to_document()


def identity(config: RunConfig) -> str:
    """Return the text of a config that is part of the hash of a model.

    It is the representation of the config in the first version: files of features, generated images and `--state`
    folders name their model by this hash, so it must not change with the names of fields.
    """
    model = re.sub(r"\btargets=", "tasks=", repr(config.model))
    for name, default in OMITTED.items():
        model = model.replace(f", {name}={default!r}", "")
    pixels = repr(config.preprocessing)
    for name, default in LATER_PIXEL_RULES.items():
        pixels = pixels.replace(f", {name}={default!r}", "")
    return (
        f"RunConfig(task={config.task!r}, model={model}, preprocessing={pixels}, "
        f"classes={config.classes!r}, {config.details.identity()})"
    )


def save_config(folder: Path, config: RunConfig) -> None:
    """Write `config.json`."""
    document = {"format": FORMAT, "fit": __version__, **config_document(config)}
    write_text(folder / CONFIG, json.dumps(document, indent=2) + "\n")


def read_config(folder: Path, find_details: FindDetails) -> RunConfig:
    """Read `config.json`.

    Args:
        folder: Run folder.
        find_details: Gives the class of the details of a task.

    Raises:
        CheckpointError: There is no such file, or it does not describe a model of this version of fit.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise CheckpointError(f"{folder}: no run folder (it has no {CONFIG}); give the --out folder of `fit train`")
    try:
        if path.stat().st_size > LARGEST_CONFIG_BYTES:
            raise CheckpointError(f"{path.stat().st_size:,} bytes of settings are too many for a config")
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["format"] != FORMAT:
            writer = document.get("fit", "of another version")
            raise CheckpointError(
                f"written by fit {writer} (format {document['format']}), this is fit {__version__} (format {FORMAT}); "
                f"install fit {writer}"
            )
        details = find_details(document["task"])
        if details is None:
            raise CheckpointError(f"fit {__version__} has no task {document['task']!r}")
        return RunConfig(
            model=details.model_type.from_dict(document["model"]),
            preprocessing=Preprocessing(**with_tuples(document["preprocessing"])),
            classes=tuple(str(name) for name in document["classes"]),
            details=details.from_document(document),
        )
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    except ConfigError as error:
        raise CheckpointError(f"{path}: no model: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError, OSError) as error:
        raise CheckpointError(f"{path}: not a run's settings ({type(error).__name__}: {error})") from error


def with_tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values from JSON with tuples in place of lists, the only sequences that JSON has."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


class ImpossibleModel(CheckpointError):
    """A model, by its layers or the side of its groups, takes for ever or more memory than any machine has."""


def _check_possible(model: ModelConfig) -> None:
    """Refuse the config of a model that takes for ever to build, or more memory than any machine has."""
    layers = sum(map(sum, model.segments))
    if layers > MOST_LAYERS:
        raise ImpossibleModel(f"a model of {layers} layers is impossible; there may be {MOST_LAYERS}")
    if isinstance(model, EncoderConfig) and model.patch * model.group > LARGEST_GROUP:
        raise ImpossibleModel(
            f"groups of {model.patch * model.group} pixels per side are impossible; a patch times the patches per side "
            f"of a group may be {LARGEST_GROUP}"
        )
    for name, value in dataclasses.asdict(model).items():
        if isinstance(value, int) and value > (LARGEST_GROUP**2 if name == "tokens" else LARGEST_SIZE):
            raise CheckpointError(f"{name} {value} is impossible")
