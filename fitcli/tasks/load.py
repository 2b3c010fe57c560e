"""Loads run folders of any task."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar, cast

from fitcli.device.runtime import Runtime
from fitcli.errors import CheckpointError
from fitcli.runs.config import RunConfig, TaskDetails, read_config
from fitcli.runs.weights import Checkpoint, TaskModel, load_model
from fitcli.tasks.registry import TASKS, find_task
from fitcli.tasks.task import Task

M = TypeVar("M", bound=TaskModel)


def load_config(folder: Path) -> RunConfig:
    """Read the `config.json` of a run folder.

    Raises:
        CheckpointError: There is none, or it does not describe a model of this version of fit.
    """
    return read_config(folder, _find_details)


def load_run(folder: Path, runtime: Runtime, expect: Task[M] | None = None, ema: bool = True) -> Checkpoint[M]:
    """Load a trained model, ready for inference.

    Args:
        folder: Run folder.
        runtime: Device and precision.
        expect: The only task whose runs are accepted, which also gives the type of the model; None for any.
        ema: Whether to load the moving average of the weights, which was validated, if the run has one.

    Raises:
        CheckpointError: The folder holds no run or one of another task, or its weights are damaged or of another model.
    """
    config = load_config(folder) if expect is None else expect_task(folder, expect.name)
    task = find_task(config.task)
    return cast(Checkpoint[M], load_model(folder, config, runtime, ema, cast_ahead=task.casts_weights_ahead))


def expect_task(folder: Path, *tasks: str) -> RunConfig:
    """Read the `config.json` of a run, which has to be of one of `tasks`.

    Raises:
        CheckpointError: The file cannot be read, or the run is of another task.
    """
    config = load_config(folder)
    if config.task not in tasks:
        raise CheckpointError(
            f"{folder}: was trained with --task {config.task}, which is for {find_task(config.task).used_by}; "
            f"give a run of --task {' or '.join(tasks)}"
        )
    return config


def _find_details(name: object) -> type[TaskDetails] | None:
    return find_task(name).details if isinstance(name, str) and name in TASKS else None
