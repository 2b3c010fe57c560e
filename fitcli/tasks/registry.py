"""The only list of tasks. A task is one folder of `fitcli.tasks` and one line here.

The folder of a task has `options.py` with `OPTIONS`, its dataclass of options of `fit train`, and `task.py`, which
defines `TASK`, with everything else; `tasks/task.py` is the protocol. A task that generates images also has
`generate_options.py` with `GENERATE_OPTIONS` and those of them that the pixels depend on, `SAMPLING_OPTIONS`, and
`image_sampler.py` with `IMAGE_SAMPLER`. A task that writes files of values has `value_scales.py` with `VALUE_SCALES`,
their colours. All are imported on demand: `fit --help` needs the options, which import no
torch.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, cast

from fitcli.errors import FitError
from fitcli.runs.option import refuse_foreign_options
from fitcli.runs.task_options import TaskOptions
from fitcli.runs.train_settings import TrainSettings

if TYPE_CHECKING:
    from fitcli.tasks.image_sampler import ImageSampler
    from fitcli.tasks.task import Task

TASKS = ("classify", "segment", "detect", "diffusion", "autoregressive")
"""Names of the tasks and of their folders, in the order in which help texts list them."""

DEFAULT_TASK = TASKS[0]
"""Task of `fit train` and `fit profile-memory` without `--task`."""


@cache
def task_options() -> dict[str, type[TaskOptions]]:
    """Return the options of `fit train` of every task, by task."""
    return {name: cast("type[TaskOptions]", _member(name, "options", "OPTIONS")) for name in TASKS}


@cache
def generate_options() -> dict[str, type]:
    """Return the options of `fit generate` of the tasks that generate images, by task."""
    return {name: cast(type, _member(name, "generate_options", "GENERATE_OPTIONS")) for name in _generating()}


@cache
def sampling_options() -> dict[str, type]:
    """Return the options that the pixels of generated images depend on, by task."""
    return {name: cast(type, _member(name, "generate_options", "SAMPLING_OPTIONS")) for name in _generating()}


@cache
def value_scales() -> dict[str, Any]:
    """Return the colours of the files of values of all tasks, by the first word of their descriptions."""
    found: dict[str, Any] = {}
    for task in _with("value_scales"):
        found |= _member(task, "value_scales", "VALUE_SCALES")
    return found


def find_image_sampler(name: str) -> ImageSampler | None:
    """Return what generates images with a task of this name; None for a task that generates none."""
    return cast("ImageSampler", _member(name, "image_sampler", "IMAGE_SAMPLER")) if name in _generating() else None


def find_task(name: str) -> Task[Any]:
    """Return the task of this name.

    Raises:
        FitError: There is none.
    """
    check_task(name)
    return cast("Task[Any]", _member(name, "task", "TASK"))


def check_task(name: str) -> None:
    """Raise FitError if there is no task of this name."""
    if name not in TASKS:
        raise FitError(f"--task must be {', '.join(TASKS)}, not {name!r}")


def train_settings(task: str = DEFAULT_TASK, **values: Any) -> TrainSettings:
    """Return the settings of a run from values by name: those that all tasks share, and those of the task.

    Values of options that belong to other tasks only are left out: `refuse_options` refuses those that a user gave.

    Raises:
        FitError: There is no such task, a value is impossible, or the package that adds the preset is broken.
        TypeError: A name is unknown.
    """
    check_task(task)
    options = task_options()
    if isinstance(preset := values.get("preset"), str):
        # Imported late: if another package called `models` comes first, the command line reports that.
        from fitcli.tasks.presets import PRESETS_BY_GROUP

        # A run may go on without the package that added its preset, so an unknown name is no error here.
        PRESETS_BY_GROUP[options[task].preset_group].load(preset)
    own = {each.name for each in _fields(options[task])}
    foreign = {each.name for settings in options.values() for each in _fields(settings)} - own
    known = {name: value for name, value in values.items() if name not in foreign}
    return TrainSettings.from_dict({"task": task, **known}, options[task])


def refuse_options(task: str, given: frozenset[str] | set[str]) -> None:
    """Raise FitError if a user gave an option of `fit train` that belongs to other tasks only."""
    refuse_foreign_options(task, task_options(), given)


@cache
def _generating() -> tuple[str, ...]:
    return _with("generate_options")


def _with(module: str) -> tuple[str, ...]:
    """Return the tasks that have a module."""
    return tuple(name for name in TASKS if find_spec(f"{__package__}.{name}.{module}") is not None)


def _member(task: str, module: str, name: str) -> Any:
    return getattr(import_module(f"{__package__}.{task}.{module}"), name)


def _fields(settings: type) -> tuple[Any, ...]:
    return tuple(settings.__dataclass_fields__.values())  # type: ignore[attr-defined]
