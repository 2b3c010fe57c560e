"""The tables of docs/options.md, from the dataclasses that declare the options.

python -m tests.support.option_table > docs/options.md
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fitcli.runs.option import DeclaredOption, declared_options, flag, merged_options
from fitcli.runs.train_settings import TrainSettings
from fitcli.tasks.registry import generate_options, task_options

HEAD = """# Options of `fit train` and `fit generate`

This page lists the options that a dataclass declares. `fit COMMAND --help` lists all. Each declared option is written
once, in a field of the dataclass (`fitcli/runs/option.py`). These tables (`python -m tests.support.option_table`), the
help texts, the checks and the keys of a recipe follow from it. A command refuses an option of another task.
"""


def document() -> str:
    """Return the whole page."""
    parts = [HEAD, "## `fit train`\n", "### With every task\n"]
    parts += [table(declared_options(TrainSettings).values(), task_options())]
    parts += sections(task_options())
    parts += ["## `fit generate`\n", *sections(generate_options())]
    return "\n".join(parts)


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
    if declared.is_switch:
        return ""
    return declared.option.limits() or (declared.option.metavar or "").lower()


if __name__ == "__main__":
    print(document(), end="")
