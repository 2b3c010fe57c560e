"""`fit train DATA --out RUN`."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fitcli import console
from fitcli.commands.launch_options import (
    AcceptChangedData,
    AutoResume,
    CrossValidate,
    DataSet,
    GroupParallel,
    MaxMinutes,
    Resume,
    RunReport,
    RunToWrite,
    Shard,
    Workers,
)
from fitcli.commands.options import (
    CompileIfItPays,
    DeviceName,
    ImageFolder,
    Memory,
    PrecisionName,
    TaskName,
    defaulted,
    given,
    timeout_option,
)
from fitcli.commands.plain_usage import plain_reason
from fitcli.commands.recipe import naming, read_recipe
from fitcli.commands.signature import with_options
from fitcli.distributed.heartbeat import TIMEOUT_MINUTES
from fitcli.errors import FitError
from fitcli.runs.option import declared_options
from fitcli.runs.train_settings import STOPPING, TrainSettings, model_options
from fitcli.tasks.registry import DEFAULT_TASK, task_options, train_settings

if TYPE_CHECKING:
    from fitcli.training.start_options import StartOptions

FIRST = ("context", "data", "out", "task", "preset", "size", "epochs", "batch_size", "memory", "resume", "recipe")
"""What a beginner needs, in the first panel of `--help`."""

NOT_IN_RECIPES = (
    "data", "out", "images", "cross_validate", "resume", "accept_changed_data", "auto_resume", "max_minutes", "recipe",
    "report", "help",
)  # fmt: skip
"""Options that belong to one run."""


def _follow(context: typer.Context, recipe: Path | None) -> Path | None:
    """Take the defaults of all other options from a recipe."""
    if recipe is not None:
        parameters = {
            parameter.name: parameter
            for parameter in context.command.params
            if parameter.name and parameter.name not in NOT_IN_RECIPES
        }
        either = {name for name, each in declared_options(TrainSettings).items() if each.is_switch_or_text}
        switches = {
            name: None if name in either else bool(getattr(parameter, "is_flag", False))
            for name, parameter in parameters.items()
        }

        def check(name: str, value: str | bool) -> None:
            try:
                parameters[name].process_value(context, value)
            except typer.BadParameter as error:
                raise ValueError(plain_reason(error)) from None

        try:
            context.default_map = {
                **(context.default_map or {}),
                **read_recipe(recipe, switches, check, {"model": model_options()}),
            }
        except FitError as error:
            # Options are read before errors of the command are caught.
            console.error(str(error))
            raise typer.Exit(1) from None
    return recipe


@with_options(declared_options(TrainSettings), task_options(), "With --task {task}", "With several tasks", FIRST)
def train(
    context: typer.Context,
    data: DataSet,
    out: RunToWrite,
    images: ImageFolder = None,
    cross_validate: CrossValidate = None,
    task: TaskName = DEFAULT_TASK,
    memory: Memory = None,
    resume: Resume = False,
    recipe: Annotated[
        Path | None,
        typer.Option(help="TOML file of options.", callback=_follow, is_eager=True, metavar="FILE"),
    ] = None,
    auto_resume: AutoResume = False,
    accept_changed_data: AcceptChangedData = False,
    max_minutes: MaxMinutes = math.inf,
    timeout: Annotated[float, timeout_option(STOPPING)] = TIMEOUT_MINUTES,
    device: DeviceName = "auto",
    precision: PrecisionName = "auto",
    compile: CompileIfItPays = None,
    shard: Shard = False,
    group_parallel: GroupParallel = 1,
    workers: Workers = None,
    report: RunReport = True,
    **options: Any,
) -> None:
    """Train on whole images of any size, or on windows of them.

    `fit train --task segment --help` shows the options of another task.
    docs/options.md explains all options, docs/scaling.md several processes.
    """
    deadline = time.monotonic() + 60 * max_minutes
    from fitcli.device.runtime import choose_runtime
    from fitcli.distributed.process_group import processes
    from fitcli.runs.config import is_run
    from fitcli.training.start_options import StartOptions

    with naming(recipe, defaulted(context)), processes(device, group_parallel, 60 * timeout) as world:
        runtime = world.run_on_all(
            lambda: choose_runtime(device, precision, compiled=bool(compile), memory_bytes=memory)
        )
        # Agents of several machines count restarts differently.
        again = world.any(auto_resume or world.restarts > 0)
        start = StartOptions(
            data=data, folder=out, images=images, runtime=runtime, given=given(context),
            accept_changed_data=accept_changed_data, resume=resume or (again and world.broadcast(is_run(out))),
            memory_bytes=memory, deadline=deadline,
            world=world, shard=shard, workers=workers, report=report, compile_if_it_pays=compile is None,
        )  # fmt: skip
        chosen = world.run_on_all(lambda: _task(task, start))
        settings = train_settings(chosen, precision=runtime.precision, **options)
        if cross_validate is None:
            _train(settings, start)
        else:
            _cross_validate(settings, start, cross_validate, resume or again)


def _task(task: str, start: StartOptions) -> str:
    """Return the task of the run: resumed without `--task`, it has options of its own task, not of the default."""
    from fitcli.runs.config import is_run
    from fitcli.tasks.load import load_config

    if start.resume and "task" not in start.given and is_run(start.folder):
        return load_config(start.folder).task
    return task


def _cross_validate(settings: TrainSettings, start: StartOptions, folds: int, continues: bool) -> None:
    from fitcli.training.cross_validation import SUMMARY, as_table, cross_validate
    from fitcli.training.stop_requests import TimeLimitReached

    if settings.folds is not None or settings.fold is not None:
        raise FitError("--cross-validate trains every fold; leave --folds and --fold out")
    try:
        result = cross_validate(settings, start, folds, continues, _train_fold)
    except TimeLimitReached as over:
        console.data(str(over))
        return
    if result is not None and start.world.is_first:
        console.table(*as_table(result))
        console.hint(f"the scores are in {start.folder / SUMMARY}")


def _train_fold(settings: TrainSettings, start: StartOptions) -> bool:
    return _train(settings, start, heading=f"fold {settings.fold}: {start.folder}")


def _train(settings: TrainSettings, start: StartOptions, heading: str = "") -> bool:
    """Train a run; return False if the time was over before its end. The heading follows the checks."""
    from fitcli.device.runtime import return_freed_memory
    from fitcli.training.loop import train as run_training
    from fitcli.training.prepare import prepare
    from fitcli.training.progress_view import show_progress
    from fitcli.training.stop_requests import TimeLimitReached

    if start.memory_bytes is not None and start.runtime.device.type == "cpu":
        # Before images are read: the plan has only what they leave.
        return_freed_memory()
    run, done = start.world.run_on_all(lambda: prepare(settings, start))
    if heading:
        console.log(heading)
    if run.changed:
        console.warning(f"{start.data}: {run.changed}")
    for warning in run.warnings:
        console.warning(warning)
    if not run.dataset.validation:
        console.warning(f"{start.data}: no image is held out to validate on; the last weights are kept")
    try:
        with show_progress(done, run.total_steps) as view:
            progress = run_training(run, view, start.resume)
    except TimeLimitReached as over:
        # The run did what was asked: an error would make queues and torchrun start it again.
        console.data(str(over))
        return False
    console.data(progress.summary(run.folder))
    console.hint(f"next: {run.settings.options.next_command.format(run=run.folder)}")
    return True
