"""What `config.json` of a run folder says: task, model, preprocessing, classes, and what else the task has to know."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fitcli import __version__
from fitcli.errors import CheckpointError
from fitcli.files.atomic import write_text
from fitcli.patches.preprocessing import Preprocessing
from fitcli.runs.targets import Target
from fitcli.tasks.autoregressive.sequences import SequenceConfig
from fitcli.tasks.diffusion.config import DiffusionConfig
from models.checks import ConfigError
from models.config import ClassifierConfig, DecoderConfig, DenoiserConfig

CONFIG = "config.json"

FORMAT = 1
"""Of `config.json`; raised when old readers could not understand it."""

ADDED: dict[str, Any] = {"tasks": (), "attention_start": "reference"}
"""Settings of models that there were not always, and what they were then."""

LARGEST_SIZE, MOST_LAYERS, LARGEST_GROUP = 2**16, 1000, 2**14
"""No model has larger sizes, more layers, or groups of more pixels per side: a file that says so is made up."""

LARGEST_CONFIG_BYTES = 8 << 20
"""Of `config.json`, most of which are names of classes. JSON takes twenty times as much when parsed."""

LARGEST_SIDE = 2**22
"""Pixels per side of the images that a model was trained at."""

TaskConfig = ClassifierConfig | DenoiserConfig | DecoderConfig

MODELS: dict[str, type[TaskConfig]] = {
    "classify": ClassifierConfig,
    "diffusion": DenoiserConfig,
    "autoregressive": DecoderConfig,
}
"""The kind of model that each task trains."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """What `config.json` says.

    Attributes:
        task: A key of `MODELS`.
        model: The architecture.
        preprocessing: What the model expects of pixels.
        classes: Names, in the order of the logits or of the labels of a condition; empty where there are none. Of the
            first task, where there are several.
        diffusion: Of the task "diffusion"; None for the others.
        sequence: Of the task "autoregressive"; None for the others.
        tasks: What a classifier is asked, where that is more than one class of one kind; empty where it is not.
    """

    task: str
    model: TaskConfig
    preprocessing: Preprocessing
    classes: tuple[str, ...]
    diffusion: DiffusionConfig | None = None
    sequence: SequenceConfig | None = None
    tasks: tuple[Target, ...] = ()

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
        if self.tasks and (self.task != "classify" or self.tasks[0].classes != self.classes):
            raise CheckpointError(f"tasks do not go with task {self.task!r} of the classes {', '.join(self.classes)}")
        _compare_numbers(self._numbers())

    @property
    def class_tasks(self) -> tuple[Target, ...]:
        """What a classifier is asked: one thing or several."""
        return self.tasks or (Target("label", "single-label", self.classes),)

    def _numbers(self) -> list[tuple[str, int, str, int]]:
        """What has to agree: its name and number, and the name and number that the model has."""
        channels, classes = self.preprocessing.channels, len(self.classes)
        match self.model, self.diffusion, self.sequence:
            case ClassifierConfig() as model, _, _:
                asked = self.class_tasks
                return [
                    ("tasks", len(asked), "tasks", len(model.target_classes)),
                    *(
                        ("class names", len(task.classes), "classes", count)
                        for task, count in zip(asked, model.target_classes, strict=False)
                    ),
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


def is_run(folder: Path) -> bool:
    """Whether a folder holds a run."""
    return (folder / CONFIG).is_file()


def save_config(folder: Path, config: RunConfig) -> None:
    """Write `config.json`."""
    settings = {name: value for name, value in dataclasses.asdict(config).items() if value is not None}
    settings["model"] = config.model.to_dict()
    # As it was before there were these: older readers understand it.
    if not config.tasks:
        del settings["tasks"]
    if config.preprocessing.background is None:
        del settings["preprocessing"]["background"]
    for name, default in ADDED.items():
        if settings["model"].get(name) == default:
            del settings["model"][name]
    document = {"format": FORMAT, "fit": __version__, **settings}
    write_text(folder / CONFIG, json.dumps(document, indent=2) + "\n")


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
            writer = document.get("fit", "of another version")
            raise CheckpointError(
                f"written by fit {writer} (format {document['format']}), this is fit {__version__} (format {FORMAT}); "
                f"install fit {writer}"
            )
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
            tasks=tuple(Target(**_with_tuples(task)) for task in document.get("tasks", ())),
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
