"""A command with options of several tasks, whose help shows those of one task. Never imports torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from typer.core import TyperCommand

from fitcli.runs.option import merged_options
from fitcli.tasks.registry import DEFAULT_TASK, TASKS, task_options

TASK = "--task"
KEY = "fitcli.task"
"""Key of the task in the values that a context keeps."""


OTHER_NAMES = {
    "--lr": "--learning-rate", "--bs": "--batch-size", "--batch": "--batch-size", "--output": "--out",
    "--model": "--preset", "--wd": "--weight-decay", "--num-workers": "--workers", "--pretrained": "--start-from",
}  # fmt: skip
"""Options of other trainers, and what they are called here: the spelling alone would suggest others."""


class TaskCommand(TyperCommand):
    """A command whose `--help` shows the options that all tasks have, and those of the task that the arguments name."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Note the task before the arguments are parsed: `--help` may come before `--task`."""
        ctx.meta[KEY] = named_task(args)
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            if (meant := OTHER_NAMES.get(getattr(error, "option_name", ""))) is not None:
                error.possibilities = [meant]  # type: ignore[attr-defined]
            raise

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Show the help without the options of other tasks."""
        with _without_options_of_other_tasks(self.params, ctx.meta.get(KEY, DEFAULT_TASK)):
            super().format_help(ctx, formatter)


def named_task(arguments: Sequence[str]) -> str:
    """Return the task that arguments of a command line name; the default task if they name none that exists."""
    named = [value for before, value in pairwise(arguments) if before == TASK]
    named += [each.partition("=")[2] for each in arguments if each.startswith(f"{TASK}=")]
    return next((name for name in named if name in TASKS), DEFAULT_TASK)


@contextmanager
def _without_options_of_other_tasks(parameters: Sequence[Any], task: str) -> Iterator[None]:
    tasks_of = {name: tasks for name, (_, tasks) in merged_options(task_options()).items()}
    others = [each for each in parameters if task not in tasks_of.get(each.name, (task,)) and not each.hidden]
    try:
        for each in others:
            each.hidden = True
        yield
    finally:
        for each in others:
            each.hidden = False
