"""Usage errors are in plain words, and name a value once, for nonsense as the value of every option."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from support.command_line import Fit
from typer.main import get_command

from fitcli.app import app
from fitcli.commands.plain_usage import plain_reason

COMMANDS = get_command(app).commands  # type: ignore[attr-defined]


def choices(command: str) -> Iterator[str]:
    """Yield the options of a command that take a value other than a file, a folder or a list."""
    for parameter in COMMANDS[command].params:
        name = parameter.opts[0]
        if name.startswith("--") and not getattr(parameter, "is_flag", False) and parameter.name not in ("out", "help"):
            yield name


def test_the_term_is_left_out() -> None:
    assert plain_reason(typer.BadParameter("Value error, 'a' is not one of 'b'.")) == "'a' is not one of 'b'."
    assert plain_reason(typer.BadParameter("'a' is no size")) == "'a' is no size"


@pytest.mark.parametrize("command", COMMANDS)
def test_nonsense_is_refused_in_plain_words(fit: Fit, tmp_path: Path, command: str) -> None:
    needed = {"train": (tmp_path, "--out", tmp_path / "run"), "view": (tmp_path / "a",), "demo": (tmp_path / "d",)}
    for name in choices(command):
        result = fit(command, *needed.get(command, ()), f"{name}=nonsense")
        assert "Value error" not in result.output + result.stderr, name
        assert result.exception is None or isinstance(result.exception, SystemExit), name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--preset", "x"), "--preset x: no such preset; there are debug"),
        (("--loss", "x"), "--loss x: no such loss; there is cross-entropy; install the package that has it"),
        (("--output-head", "x"), "--output-head x: no such output head; there is attention; install the package"),
        (("--stem", "x"), "--preset debug --stem x: stem must be one of linear, conv, overlap"),
        (("--plan", "x"), "--preset debug --plan x: layer plan does not have the form '(2)4(2)4'"),
        (("--task", "diffusion", "--output-head", "x"), "output_head must be one of linear, overlap"),
        (("--task", "diffusion", "--schedule", "x"), "--schedule x: unknown schedule: use cosine, cosine@"),
    ],
)
def test_a_choice_that_does_not_exist_is_named_once(
    fit: Fit, dataset: Path, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    preset = () if "--preset" in options else ("--preset", "debug")
    result = fit("train", dataset, "--out", tmp_path / "run", *preset, *options)
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert message in line
    assert "'x'" not in line


@pytest.mark.parametrize("table", ["", "[model]\n"])
@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('attention-start = "x"', "attention-start = 'x': is not one of 'reference', 'unit'"),
        ('output-head = "x"', "--output-head x: no such output head; there is attention"),
        ('stem = "x"', "--stem x: stem must be one of linear, conv, overlap"),
    ],
)
def test_recipes_say_it_once(fit: Fit, dataset: Path, tmp_path: Path, table: str, line: str, message: str) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text(table + line + "\n")
    result = fit("train", dataset, "--out", tmp_path / "run", "--preset", "debug", "--recipe", recipe)
    assert result.exit_code == 1
    (shown,) = result.stderr.splitlines()
    assert f"--recipe {recipe}: " in shown
    assert message in shown
    assert "Value error" not in shown


def test_values_of_recipes_are_named_once(fit: Fit, dataset: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    for line, message in (
        ('memory = "x"', "memory = 'x': is no size; give one like 4GiB"),
        ('class-weights = "x"', "class-weights = 'x': is not one of 'none', 'root', 'inverse'"),
        ("precision = 3", "precision = 3: is not one of 'auto', 'fp32', 'bf16'"),
    ):
        recipe.write_text(line + "\n")
        result = fit("train", dataset, "--out", tmp_path / "run", "--recipe", recipe)
        assert f"error: --recipe {recipe}: {message}" in result.stderr


@pytest.mark.parametrize("task", ["classify", "segment", "detect", "diffusion", "autoregressive"])
def test_defaults_have_one_form(fit: Fit, task: str) -> None:
    """A default stands as `[default: 0.1]`, not `(0.1)`, and whole numbers without a fraction."""
    text = " ".join(fit("train", "--task", task, "--help").stdout.replace("│", " ").split())
    assert "[default: (" not in text
    assert "default:" in text
    for name, shown in (("Warm-up: share of steps.", "0.1"), ("Largest gradient norm.", "1")):
        assert f"{name} [default: {shown}]" in text
