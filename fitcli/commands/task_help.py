"""A command with options of several tasks, whose help shows those of one task; and options that are switches, too.

Never imports torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from fitcli.commands.plain_usage import PlainUsageCommand
from fitcli.runs.option import OFF, USUAL, declared_options, flag, merged_options
from fitcli.runs.train_settings import TrainSettings
from fitcli.tasks.registry import DEFAULT_TASK, TASKS, task_options

TASK = "--task"
KEY = "fitcli.task"
"""Key of the task in the values that a context keeps."""


OTHER_NAMES = {
    "--lr": "--learning-rate", "--bs": "--batch-size", "--batch": "--batch-size", "--output": "--out",
    "--model": "--preset", "--wd": "--weight-decay", "--num-workers": "--workers", "--pretrained": "--start-from",
}  # fmt: skip
"""Options of other trainers, and what they are called here: the spelling alone would suggest others."""


class TaskCommand(PlainUsageCommand):
    """A command whose `--help` shows the options that all tasks have, and those of the task that the arguments name."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Note the task before the arguments are parsed: `--help` may come before `--task`."""
        ctx.meta[KEY] = named_task(args)
        try:
            return super().parse_args(ctx, with_texts(args, switches_or_texts()))
        except Exception as error:
            if (meant := OTHER_NAMES.get(getattr(error, "option_name", ""))) is not None:
                error.possibilities = [meant]  # type: ignore[attr-defined]
            raise

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Show the help without the options of other tasks."""
        with _without_options_of_other_tasks(self.params, ctx.meta.get(KEY, DEFAULT_TASK)):
            super().format_help(ctx, formatter)


def switches_or_texts() -> list[str]:
    """Return the options of training that take a text, and also stand alone or in a `--no-...` form."""
    return [flag(name) for name, each in declared_options(TrainSettings).items() if each.is_switch_or_text]


def with_texts(arguments: Sequence[str], options: Sequence[str]) -> list[str]:
    """Return arguments of a command line in which options that stand alone have the text for that.

    `--no-augment` becomes `--augment=none`; `--augment` becomes `--augment=default` at the end, and before an option.
    """
    texts: list[str] = []
    for number, argument in enumerate(arguments):
        if argument == "--":
            return [*texts, *arguments[number:]]
        name = argument.replace("--no-", "--", 1)
        if argument in options and all(each.startswith("-") for each in arguments[number + 1 : number + 2]):
            texts.append(f"{argument}={USUAL}")
        else:
            texts.append(f"{name}={OFF}" if name != argument and name in options else argument)
    return texts


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
