"""The tables of docs/options.md, from the dataclasses that declare the options and from the commands themselves.

python -m tests.support.option_table > docs/options.md
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, get_args

from typer.main import get_command

from fitcli.app import app
from fitcli.runs.option import DeclaredOption, declared_options, flag, merged_options
from fitcli.runs.train_settings import TrainSettings
from fitcli.tasks.registry import generate_options, task_options

HEAD = """# Options of `fit train` and `fit generate`

This page lists all options of both commands. The tables (`python -m tests.support.option_table`), the help texts, the
checks and the keys of a recipe follow from one declaration of each option: a field of a dataclass
(`fitcli/runs/option.py`), or a parameter of the command. A command refuses an option of another task.
"""

MORE = {
    "train": {
        "out": "It is created; an existing run is refused without --resume.",
        "images": "Paths in the CSV file are relative to it; images are also found by name, with or without suffix.",
        "cross_validate": "In RUN/fold-1, ...; and a table of their scores with means and intervals.",
        "task": "A resumed run has its own task.",
        "memory": "It limits the device that computes. A step that would take more recomputes or streams.",
        "resume": "It continues as the same run, from the last saved state. Give the same options, or more epochs.",
        "recipe": "The command line wins. Its keys are options without the dashes, none of one run, such as --out.",
        "auto_resume": "For queues that start the same command line again: without a run it begins one.",
        "accept_changed_data": "Without it, other images, labels or splits are refused.",
        "max_minutes": "Counted from the start of the command. The exit code is 0, and --resume continues.",
        "timeout": "Other processes wait so long for a process without a sign of life; 0 waits for ever.",
        "device": "auto is a CUDA device, else mps, else the CPU.",
        "precision": "Weights are fp32 always. auto is bf16 on GPUs that have it, else fp32.",
        "compile": "auto compiles where that pays within the run.",
        "shard": "Weights, gradients and moments lie on all processes of torchrun, a part on each.",
        "group_parallel": "With torchrun: each computes some groups of the image, and all exchange latents.",
        "workers": "By default the cores of the process, 2 to 16.",
    },
    "generate": {
        "device": "auto is a CUDA device, else mps, else the CPU.",
        "memory": "It limits the device that computes. Large images are computed a few groups at a time.",
    },
}
"""Further sentences for options that stand in the signature of a command; declared options have their own."""


def document() -> str:
    """Return the whole page."""
    train = task_options()
    declared = {**declared_options(TrainSettings), **merged_options(train)}
    parts = [HEAD, "## `fit train`\n", "### Of the command\n", command_table("train", declared)]
    parts += ["### With every task\n", table(declared_options(TrainSettings).values(), train), *sections(train)]
    parts += ["## `fit generate`\n", "### Of the command\n"]
    parts += [command_table("generate", merged_options(generate_options())), *sections(generate_options())]
    return "\n".join(parts)


def command_options(name: str) -> dict[str, Any]:
    """Return the options of a command by the names of their parameters, without hidden ones and `--help`."""
    command: Any = get_command(app)
    parameters = command.commands[name].params
    return {each.name: each for each in parameters if each.opts[0].startswith("--") and not each.hidden}


def command_table(name: str, declared: Iterable[str]) -> str:
    """Return the table of the options in the signature of a command: all that no dataclass declares."""
    rows = ["| option | values | default | meaning |", "|---|---|---|---|"]
    for key, each in command_options(name).items():
        if key not in set(declared):
            # The help text of Typer escapes brackets, and repeats a default that it cannot show by itself.
            meaning = each.help.replace("\\[", "[").partition(" [default")[0]
            has_default = each.default is not None and each.default is not False and each.default != math.inf
            default = f"{each.default}".removesuffix(".0") if has_default else ""
            switch = "" if each.is_flag else (each.metavar or "").lower() or "number"
            flags = ", ".join([*each.opts, *each.secondary_opts])
            values = f"{switch}{', required' if each.required else ''}"
            text = f"{meaning} {MORE[name].get(key, '')}".strip().replace("|", "\\|")
            rows.append(f"| `{flags}` | {values} | {default} | {text} |")
    return "\n".join(rows) + "\n"


def sections(tasks: Mapping[str, type]) -> Iterable[str]:
    """Yield a table for each set of tasks that has options of its own."""
    groups: dict[tuple[str, ...], list[DeclaredOption]] = {}
    for declared, names in merged_options(tasks).values():
        groups.setdefault(names, []).append(declared)
    for names, options in sorted(groups.items(), key=lambda group: len(group[0])):
        yield f"### With `--task {' or '.join(names)}`\n"
        yield table(options, tasks)


def table(options: Iterable[DeclaredOption], tasks: Mapping[str, type]) -> str:
    rows = ["| option | values | default | meaning |", "|---|---|---|---|"]
    for each in options:
        name = flag(each.name) + (f", --no-{flag(each.name)[2:]}" if each.option.negatable else "")
        meaning = f"{each.option.help} {each.option.more}".strip().replace("|", "\\|")
        rows.append(f"| `{name}` | {values(each)} | {each.default_text(tasks)} | {meaning} |")
    return "\n".join(rows) + "\n"


def values(declared: DeclaredOption) -> str:
    """Return the possible values, in words."""
    if declared.choices:
        return ", ".join(declared.choices)
    if bool in (declared.type, *get_args(declared.type)):
        return ""
    return declared.option.limits() or (declared.option.metavar or "").lower()


if __name__ == "__main__":
    print(document(), end="")
