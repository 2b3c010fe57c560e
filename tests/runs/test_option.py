"""An option is declared once, in a field: its type, limits and choices are checked, and tasks share declarations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import pytest

from fitcli.errors import FitError
from fitcli.runs.option import (
    OptionError,
    check_options,
    declared_options,
    flag,
    given_as,
    merged_options,
    option,
    refuse_foreign_options,
    shared,
    without_values,
)

SHARED = option(0.5, "Share.", minimum=0, maximum=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Painting:
    """Options of every kind."""

    share: float = shared(SHARED)
    brush_width: int = option(3, "Width.", minimum=1, maximum=9)
    rate: float = option(0.1, "Rate.", above=0, below=1)
    seed: int | None = option(None, "Seed.", minimum=0, shown_default="random")
    mode: Literal["oil", "ink"] = option("oil", "Mode.")
    title: str | None = option(None, "Title.")
    varnish: bool = option(False, "Varnish.", negatable=True)
    shift: float = option(0.0, "Any number.")
    undeclared: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Printing:
    """Options, of which one is shared."""

    share: float = shared(SHARED)
    copies: int = option(1, "Copies.", minimum=1)


TASKS: dict[str, type] = {"paint": Painting, "print": Printing}


def test_options_are_the_declared_fields_in_their_order() -> None:
    options = declared_options(Painting)
    assert list(options) == ["share", "brush_width", "rate", "seed", "mode", "title", "varnish", "shift"]
    assert (options["brush_width"].type, options["brush_width"].default) == (int, 3)
    assert (options["brush_width"].option.help, options["brush_width"].option.minimum) == ("Width.", 1)
    assert {name: each.choices for name, each in options.items() if each.choices} == {"mode": ("oil", "ink")}


@pytest.mark.parametrize(
    "values",
    [
        {}, {"share": 0}, {"share": 1}, {"brush_width": 1}, {"brush_width": 9}, {"rate": 1e-9}, {"rate": 1 - 1e-9},
        {"seed": None}, {"seed": 0}, {"mode": "ink"}, {"title": "x"}, {"varnish": True}, {"shift": -1e9},
        {"undeclared": "anything"},
    ],
    ids=str,
)  # fmt: skip
def test_possible_values_pass(values: dict[str, Any]) -> None:
    check_options(Painting(**values))


@dataclass(frozen=True, kw_only=True, slots=True)
class Framing:
    """An option of given texts that may be left out."""

    wood: Literal["oak", "ash"] | None = option(None, "Wood.")


def test_given_texts_may_be_left_out() -> None:
    assert declared_options(Framing)["wood"].choices == ("oak", "ash")
    for wood in (None, "oak", "ash"):
        check_options(Framing(wood=wood))
    for wrong in ("pine", "", 3, True, ["oak"]):
        with pytest.raises(OptionError, match="must be oak, ash, not"):
            check_options(Framing(wood=wrong))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"share": -0.1}, "--share must be at least 0 and at most 1, not -0.1"),
        ({"share": 1.1}, "--share must be at least 0 and at most 1, not 1.1"),
        ({"brush_width": 0}, "--brush-width must be at least 1 and at most 9, not 0"),
        ({"brush_width": 10}, "--brush-width must be at least 1 and at most 9, not 10"),
        ({"rate": 0}, "--rate must be above 0 and below 1, not 0"),
        ({"rate": 1.0}, "--rate must be above 0 and below 1, not 1.0"),
        ({"seed": -1}, "--seed must be at least 0, not -1"),
        ({"share": math.nan}, "--share must be at least 0 and at most 1 and finite, not nan"),
        ({"rate": math.inf}, "--rate must be above 0 and below 1 and finite, not inf"),
        ({"shift": math.inf}, "--shift must be finite, not inf"),
        ({"brush_width": 2.5}, "--brush-width must be an integer, not 2.5"),
        ({"brush_width": "2"}, "--brush-width must be an integer, not '2'"),
        ({"brush_width": None}, "--brush-width must be an integer, not None"),
        ({"brush_width": True}, "--brush-width must be an integer, not True"),
        ({"seed": 2.5}, "--seed must be an integer, not 2.5"),
        ({"rate": "fast"}, "--rate must be a number, not 'fast'"),
        ({"rate": False}, "--rate must be a number, not False"),
        ({"varnish": 1}, "--varnish must be true or false, not 1"),
        ({"title": 5}, "--title must be a text, not 5"),
        ({"mode": "chalk"}, "--mode must be oil, ink, not 'chalk'"),
        ({"mode": ["oil"]}, "--mode must be oil, ink, not ['oil']"),
    ],
    ids=str,
)
def test_impossible_values_are_refused_by_name(values: dict[str, Any], message: str) -> None:
    with pytest.raises(FitError) as caught:
        check_options(Painting(**values))
    assert str(caught.value) == message


def test_a_switch_that_also_takes_a_text() -> None:
    @dataclass
    class Framing:
        gilt: bool | str = option(None, "Gilding.", varies=True)

    declared = declared_options(Framing)["gilt"]
    assert declared.is_switch_or_text
    assert not declared_options(Painting)["varnish"].is_switch_or_text
    for value in (True, False, "thick"):
        check_options(Framing(gilt=value))
    with pytest.raises(FitError, match="--gilt must be true or false or a text, not 3"):
        check_options(Framing(gilt=3))  # type: ignore[arg-type]
    assert [given_as("gilt", value) for value in (True, False, "thick")] == ["--gilt", "--no-gilt", "--gilt thick"]


def test_a_shared_option_is_one_option_of_several_tasks() -> None:
    merged = merged_options(TASKS)
    assert merged["share"] == (declared_options(Painting)["share"], ("paint", "print"))
    assert {name: tasks for name, (_, tasks) in merged.items() if name in ("mode", "copies")} == {
        "mode": ("paint",), "copies": ("print",)
    }  # fmt: skip
    assert merged.keys() == {*declared_options(Painting), *declared_options(Printing)}


def test_an_option_that_tasks_declare_differently_is_a_mistake() -> None:
    @dataclass
    class Drawing:
        share: float = option(0.25, "Share.", minimum=0, maximum=1)

    with pytest.raises(AssertionError, match="share is declared twice"):
        merged_options({**TASKS, "draw": Drawing})


def test_options_of_other_tasks_are_refused() -> None:
    refuse_foreign_options("paint", TASKS, {"share", "mode", "undeclared", "elsewhere"})
    refuse_foreign_options("print", TASKS, set())
    with pytest.raises(FitError, match=r"^--brush-width is for --task paint, not for print; leave it out$"):
        refuse_foreign_options("print", TASKS, {"share", "brush_width"})
    with pytest.raises(FitError, match=r"^--share is for --task paint or print, not for carve; leave it out$"):
        refuse_foreign_options("carve", TASKS, {"share"})


def test_defaults_as_help_texts_show_them() -> None:
    texts = {name: each.default_text(TASKS) for name, each in declared_options(Painting).items()}
    assert texts == {
        "share": "0.5", "brush_width": "3", "rate": "0.1", "seed": "random", "mode": "oil", "title": "", "varnish": "",
        "shift": "0",
    }  # fmt: skip


def test_defaults_that_vary_name_their_tasks_and_presets() -> None:
    class Thick(Painting):
        presets: ClassVar[Any] = {
            "ink": {"mix": True, "dry": 1.0, "wet": 0.5},
            "oil": {"mix": True, "dry": 2.0, "wet": 0.5},
        }

        @classmethod
        def default_of(cls, name: str, preset: str) -> Any:
            return cls.presets[preset][name]

    class Thin(Thick):
        presets: ClassVar[Any] = {name: {"mix": False, "dry": 2.0, "wet": 0.5} for name in ("ink", "oil")}

    @dataclass
    class Common:
        mix: bool = option(None, "Mix.", varies=True)
        dry: float = option(None, "Dry.", varies=True)
        wet: float = option(None, "Wet.", above=0, varies=True)

    tasks: dict[str, type] = {"paint": Thick, "print": Thin}
    options = declared_options(Common).values()
    assert [each.default_text(tasks) for each in options] == [
        "paint: yes; print: no", "paint: 1 (ink), 2 (oil); print: 2", "0.5"
    ]  # fmt: skip
    assert [each.default_text(tasks, short=True) for each in options] == ["by task", "by preset", "0.5"]
    check_options(Common())
    with pytest.raises(FitError, match="--wet must be above 0"):
        check_options(Common(wet=0))


def test_a_default_that_one_task_declares_is_that_of_this_task() -> None:
    @dataclass
    class Etching:
        presets: ClassVar[Any] = {"ink": None, "oil": None}

        depth: float = option(None, "Depth.", varies=True)

        @classmethod
        def default_of(cls, name: str, preset: str) -> Any:
            return {"ink": 1, "oil": 3}[preset]

    tasks: dict[str, type] = {"etch": Etching, "print": Printing}
    assert declared_options(Etching)["depth"].default_text(tasks) == "1 (ink), 3 (oil)"


def test_options_as_on_the_command_line() -> None:
    values = {"brush_width": 3, "rate": 1e-4, "varnish": True, "dry_it": False}
    assert [given_as(*each) for each in values.items()] == [
        "--brush-width 3", "--rate 0.0001", "--varnish", "--no-dry-it"
    ]  # fmt: skip


def test_names_become_flags() -> None:
    assert flag("brush_width") == "--brush-width"


def test_a_message_about_given_values_does_not_repeat_them() -> None:
    assert without_values("stem must be a or b, not 'c'", ["c", 3]) == "stem must be a or b"
    assert without_values("schedule 'c@1' has no value; try 'd'", ["c@1"]) == "schedule has no value; try 'd'"
    assert without_values("latents must be at least 1, not 0", [0]) == "latents must be at least 1, not 0"
