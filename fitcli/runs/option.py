"""An option of a command, written once: the field of a dataclass says its name, type, default, help and limits.

The command line, the keys of a recipe, the checks and the table in docs/options.md follow from the field. Standard
library only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from fitcli.errors import FitError


class OptionError(FitError):
    """A value of an option is impossible.

    Args:
        name: Name of the field.
        reason: Fault of the value, without the name of the option.
        shown: Name in the message; None for the option on the command line.
    """

    def __init__(self, name: str, reason: str, shown: str | None = None) -> None:
        self.name, self.reason = name, reason
        super().__init__(f"{flag(name) if shown is None else shown} {reason}")


KEY = "option"
"""Key of an `Option` in the metadata of a field."""

OFF, USUAL = "none", "default"
"""Texts for the values of a switch, where an option takes a text, too, see `DeclaredOption.is_switch_or_text`."""

LARGEST_NUMBER = 10**100
"""Integers from here on are no numbers of an option; Python could not make a float of the largest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Option:
    """Everything about an option but its name, type and default.

    Attributes:
        help: One sentence for `--help` and the documentation.
        more: Further sentences for the documentation.
        panel: Heading under which `--help` shows it; empty for the first panel.
        minimum, maximum: Least and greatest allowed value; None without a limit.
        above, below: Limits that are not allowed themselves; None without.
        metavar: Name of the value in `--help`; None for that of its type.
        shown_default: Text that `--help` shows in place of the default; None to show the default itself.
        varies: Whether the default depends on task and preset. The default of the field is None until
            `TrainSettings` replaces it by `TaskOptions.default_of`.
        parser: Function from text to a value, which raises ValueError; None for the parser of the type.
        negatable: Whether a switch has a `--no-...` form.
        changeable: Whether a resumed run may be given another value.
    """

    help: str
    more: str = ""
    panel: str = ""
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    below: float | None = None
    metavar: str | None = None
    shown_default: str | None = None
    varies: bool = False
    parser: Callable[[str], Any] | None = None
    negatable: bool = False
    changeable: bool = False

    def check(self, name: str, value: object) -> None:
        """Raise OptionError for a number outside of the limits. None is allowed."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return
        too_low = (self.minimum is not None and value < self.minimum) or (
            self.above is not None and value <= self.above
        )
        too_high = (self.maximum is not None and value > self.maximum) or (
            self.below is not None and value >= self.below
        )
        finite = isinstance(value, int) or math.isfinite(value)
        if too_low or too_high or not finite:
            limits = [self.limits()] if finite else [self.limits(), "finite"]
            raise OptionError(name, f"must be {' and '.join(filter(None, limits))}, not {_shown(value)}")

    def limits(self) -> str:
        """Return the limits in words, such as "at least 1"; empty without limits."""
        low = _limit("at least", self.minimum) or _limit("above", self.above)
        high = _limit("at most", self.maximum) or _limit("below", self.below)
        return " and ".join(limit for limit in (low, high) if limit)


def _shown(value: object) -> str:
    """Return a value as text of at most 80 characters: it may be a list, or an integer of thousands of digits."""
    if isinstance(value, int) and abs(value) >= LARGEST_NUMBER:
        return f"{'-' * (value < 0)}2^{value.bit_length() - 1} or more"
    return f"{value!r:.80}"


def _limit(word: str, value: float | None) -> str:
    return "" if value is None else f"{word} {value if isinstance(value, int) else f'{value:g}'}"


@dataclass(frozen=True, slots=True)
class DeclaredOption:
    """An option with the field that declares it.

    Attributes:
        name: Name of the field; `--name` with dashes on the command line.
        type: Type of the values, as Python sees it.
        default: Value of a command that is called without the option.
        option: Help and limits.
    """

    name: str
    type: Any
    default: Any
    option: Option

    @property
    def is_switch_or_text(self) -> bool:
        """Whether the option takes a text, and also the values of a switch: it also stands alone, or as `--no-...`."""
        return {bool, str} <= set(get_args(self.type))

    @property
    def choices(self) -> tuple[str, ...]:
        """The allowed texts of a `Literal`, which may have None beside them; empty for other types."""
        kinds = (self.type, *get_args(self.type))
        return next((get_args(kind) for kind in kinds if get_origin(kind) is Literal), ())

    def default_text(self, tasks: Mapping[str, type], short: bool = False) -> str:
        """Return the default as the documentation shows it; empty for none.

        Args:
            tasks: The dataclass of options of every task, by task. Those of a default that varies have `presets` and
                `default_of`, as `TaskOptions`.
            short: Whether to write "by preset" or "by task" for a default that depends on them, as help texts do.
        """
        if self.option.shown_default is not None:
            return self.option.shown_default
        if self.option.varies:
            declaring = {task: options for task, options in tasks.items() if self.name in declared_options(options)}
            texts = {task: self._preset_text(options) for task, options in (declaring or tasks).items()}
            if short and any("(" in text for text in texts.values()):
                return "by preset"
            return "by task" if short and len(set(texts.values())) > 1 else _grouped(texts)
        return "" if self.default is None or self.default is False else _text(self.default)

    def _preset_text(self, options: Any) -> str:
        """Return the default of one task: "0.1", or "0 (tiny, small), 0.1 (base)" if it depends on the preset."""
        presets: dict[str, list[str]] = {}
        for preset in options.presets:
            presets.setdefault(_text(options.default_of(self.name, preset)), []).append(preset)
        if len(presets) == 1:
            return next(iter(presets))
        return ", ".join(f"{text} ({', '.join(names)})" for text, names in presets.items())


def _grouped(texts: Mapping[str, str]) -> str:
    """Return the texts of several tasks as one: "a: 1; b, c: 2", or "1" if all are equal."""
    named: dict[str, list[str]] = {}
    for task, text in texts.items():
        named.setdefault(text, []).append(task)
    if len(named) == 1:
        return next(iter(named))
    return "; ".join(f"{', '.join(names)}: {text}" for text, names in named.items())


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def option(default: Any, help: str, **details: Any) -> Any:
    """Declare a field of a dataclass as an option; `details` are attributes of `Option`."""
    return field(default=default, metadata={KEY: Option(help=help, **details)})


def shared(declared: Any) -> Any:
    """Return a field like one that `option` made: for an option that several dataclasses have in common."""
    assert isinstance(declared, Field)
    assert declared.default is not MISSING
    return field(default=declared.default, metadata=declared.metadata)


def declared_options(settings: type) -> dict[str, DeclaredOption]:
    """Return the options that a dataclass declares, by name, in the order of its fields."""
    return _declared(settings)


@cache
def _declared(settings: Any) -> dict[str, DeclaredOption]:
    types = get_type_hints(settings)
    return {
        each.name: DeclaredOption(each.name, types[each.name], each.default, each.metadata[KEY])
        for each in fields(settings)
        if KEY in each.metadata
    }


def check_options(settings: object) -> None:
    """Check the values of a dataclass against the types and limits of its options.

    Raises:
        OptionError: A value is of another type, no choice or out of its limits.
    """
    for name, declared in declared_options(type(settings)).items():
        value = getattr(settings, name)
        if value is None and declared.option.varies:
            continue
        may_be_none = NoneType in get_args(declared.type)
        if declared.choices and value not in declared.choices and not (value is None and may_be_none):
            raise OptionError(name, f"must be {', '.join(declared.choices)}, not {_shown(value)}")
        classes = tuple(_classes(declared.type))
        # In Python, True is also an integer.
        if not isinstance(value, classes) or (isinstance(value, bool) and bool not in classes):
            raise OptionError(name, f"must be {_type_text(declared.type)}, not {_shown(value)}")
        if isinstance(value, int) and abs(value) >= LARGEST_NUMBER and float in classes:
            raise OptionError(name, f"must be below {LARGEST_NUMBER:g}, not {_shown(value)}")
        declared.option.check(name, value)


def _classes(kind: Any) -> Iterator[type]:
    """Yield the classes of the values of a type. For a number, an integer is allowed, too; a bool is not."""
    if get_origin(kind) in (Union, UnionType):
        for each in get_args(kind):
            yield from _classes(each)
    elif get_origin(kind) is Literal:
        yield str
    elif kind is float:
        yield from (float, int)
    else:
        yield kind


def _type_text(kind: Any) -> str:
    names = {int: "an integer", float: "a number", bool: "true or false", str: "a text"}
    return " or ".join(names.get(each, each.__name__) for each in (get_args(kind) or (kind,)) if each is not NoneType)


def flag(name: str) -> str:
    """Return the form of an option on the command line: `batch_size` becomes `--batch-size`."""
    return f"--{name.replace('_', '-')}"


def given_as(name: str, value: bool | float | str) -> str:
    """Return an option with its value as on the command line, such as "--no-augment" or "--ema 0.999"."""
    if isinstance(value, bool):
        return flag(name if value else f"no_{name}")
    return f"{flag(name)} {value if isinstance(value, str) else f'{value:g}'}"


def refuse_foreign_options(task: str, options: Mapping[str, type], given: Collection[str]) -> None:
    """Refuse options that a task does not have: they would have no effect.

    Args:
        task: The chosen task.
        options: The dataclass of options of every task, by task.
        given: Names of the options that the user gave.

    Raises:
        FitError: An option belongs to other tasks only.
    """
    tasks_of: dict[str, list[str]] = {}
    for name, settings in options.items():
        for each in declared_options(settings):
            tasks_of.setdefault(each, []).append(name)
    for name, tasks in tasks_of.items():
        if name in given and task not in tasks:
            raise FitError(f"{flag(name)} is for --task {' or '.join(tasks)}, not for {task}; leave it out")


def merged_options(options: Mapping[str, type]) -> dict[str, tuple[DeclaredOption, tuple[str, ...]]]:
    """Return the options of all tasks by name, each with the tasks that have it."""
    merged: dict[str, tuple[DeclaredOption, tuple[str, ...]]] = {}
    for task, settings in options.items():
        for name, declared in declared_options(settings).items():
            before = merged.get(name)
            assert before is None or before[0] == declared, f"{name} is declared twice, in different ways"
            merged[name] = (declared, (*(before[1] if before else ()), task))
    return merged


def without_values(message: str, values: Iterable[object]) -> str:
    """Return a message without texts that it names as faulty: what is printed begins with the options and their values.

    "stem must be a or b, not 'c'" becomes "stem must be a or b", and "schedule 'c' is unknown" "schedule is unknown".
    """
    for value in values:
        if isinstance(value, str):
            message = message.replace(f", not {value!r}", "", 1).replace(f" {value!r}", "", 1)
    return message
