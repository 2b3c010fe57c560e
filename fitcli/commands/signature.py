"""Gives a command the options that dataclasses declare, as if they stood in its signature. Never imports torch."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from inspect import Parameter, Signature
from typing import Annotated, Any, Optional, TypeVar, get_args, get_type_hints

import typer

from fitcli.runs.option import DeclaredOption, flag, merged_options

C = TypeVar("C", bound=Callable[..., None])

LARGEST_SHOWN = 1000
"""Largest upper limit of an option that `--help` shows."""


def with_options(
    common: Mapping[str, DeclaredOption],
    tasks: Mapping[str, type],
    panel: str,
    shared_panel: str,
    first: Sequence[str] = (),
) -> Callable[[C], C]:
    """Decorate a command that takes `**options`: it gets a parameter for each option.

    Args:
        common: Options of every task, by name; `Option.panel` is their heading in `--help`.
        tasks: The dataclass of options of every task, by task. Options of one task form a panel.
        panel: Heading of such a panel, with `{task}` for the task.
        shared_panel: Heading of the options that several tasks have; their help ends with the tasks, or with the only
            one that does not have them.
        first: Names of parameters, of the function or declared, that come first in `--help`, in this order.
    """

    def decorate(command: C) -> C:
        hints = get_type_hints(command, include_extras=True)
        own = [
            each for each in inspect.signature(command).parameters.values() if each.kind is not Parameter.VAR_KEYWORD
        ]
        parameters = {each.name: _keyword(each.name, hints[each.name], each.default) for each in own}
        for name, declared in common.items():
            parameters[name] = _parameter(declared, declared.option.panel, tasks)
        for name, (declared, names) in merged_options(tasks).items():
            heading = panel.format(task=names[0]) if len(names) == 1 else shared_panel
            suffix = "" if len(names) == 1 else f" ({_tasks_text(names, tasks)})"
            parameters[name] = _parameter(declared, heading, tasks, suffix)
        ordered = [*first, *(name for name in parameters if name not in first)]
        signature = Signature([parameters[name] for name in ordered], return_annotation=None)
        command.__signature__ = signature  # type: ignore[attr-defined]
        command.__annotations__ = {name: parameters[name].annotation for name in ordered} | {"return": None}
        return command

    return decorate


def with_fields(command: Callable[..., None]) -> Callable[..., None]:
    """Decorate a command: in place of a parameter that is a dataclass of options, it gets a parameter for each field.

    The types of the fields are annotated for Typer, and every field has a default. Callers give the fields by name.
    """
    hints = get_type_hints(command, include_extras=True)
    parameters: dict[str, Parameter] = {}
    gathered: dict[str, type] = {}
    for name, parameter in inspect.signature(command).parameters.items():
        if not is_dataclass(hints[name]):
            parameters[name] = parameter.replace(annotation=hints[name])
            continue
        gathered[name] = hints[name]
        types = get_type_hints(hints[name], include_extras=True)
        for each in fields(hints[name]):
            assert each.default is not MISSING, each.name
            parameters[each.name] = _keyword(each.name, types[each.name], each.default)

    @functools.wraps(command)
    def gathering(*arguments: Any, **options: Any) -> None:
        for name, declaration in gathered.items():
            own = {each.name: options.pop(each.name) for each in fields(declaration) if each.name in options}
            options[name] = declaration(**own)
        command(*arguments, **options)

    gathering.__signature__ = Signature([*parameters.values()], return_annotation=None)  # type: ignore[attr-defined]
    gathering.__annotations__ = {name: each.annotation for name, each in parameters.items()} | {"return": None}
    return gathering


def _parameter(declared: DeclaredOption, panel: str, tasks: Mapping[str, type], suffix: str = "") -> Parameter:
    option, name = declared.option, flag(declared.name)
    shown = declared.default_text(tasks, short=True)
    help = f"{option.help.rstrip('.')}{suffix}." if suffix else option.help
    information = typer.Option(
        f"{name}/--no-{name[2:]}" if option.negatable else name,
        # Square brackets are markup for the help texts of Typer.
        help=(f"{help} [default: {shown}]" if shown else help).replace("[", r"\["),
        metavar=option.metavar or _metavar(declared),
        parser=option.parser and _parser(option.parser),
        # Typer would put a default that is text into brackets, and write 1.0 where the documentation has 1.
        show_default=False,
        rich_help_panel=panel or None,
        **_limits(declared),
    )
    taken: Any = str if declared.is_switch_or_text else declared.type
    kind = taken if declared.default is not None else Optional[taken]  # noqa: UP045
    return _keyword(declared.name, Annotated[kind, information], declared.default)


def _tasks_text(names: Sequence[str], tasks: Iterable[str]) -> str:
    """Return which tasks have an option, briefly."""
    others = [name for name in tasks if name not in names]
    return f"not {others[0]}" if len(others) == 1 < len(names) - 1 else ", ".join(names)


def _parser(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return a parser that raises `typer.BadParameter` instead of ValueError."""

    def parsed(text: str) -> Any:
        try:
            return parse(text)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None

    return parsed


def _metavar(declared: DeclaredOption) -> str | None:
    """Return a short name of the value, so that help texts get the width of the terminal."""
    kinds = get_args(declared.type) or (declared.type,)
    return next((letter for kind, letter in ((int, "N"), (float, "X"), (str, "NAME")) if kind in kinds), None)


def _limits(declared: DeclaredOption) -> dict[str, Any]:
    """Return the limits that the parser of the command line can check; the dataclass checks all of them."""
    option = declared.option
    # The parser prints its limits beside the option: a long one takes the width of the help text.
    shown = option.maximum is None or option.maximum <= LARGEST_SHOWN
    return {"min": option.minimum, "max": option.maximum if shown else None}


def _keyword(name: str, annotation: Any, default: Any) -> Parameter:
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
