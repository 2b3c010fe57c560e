"""Registers the commands and turns errors into one line and an exit code.

Exit codes: 0 success, 1 a `FitError`, 2 a wrong call, 130 interrupted. Importing this file does not import torch.
"""

from __future__ import annotations

import functools
import importlib.util
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, ParamSpec, TypeVar

import typer
from typer.core import TyperCommand

from fitcli import __version__, console
from fitcli.commands.classify import classify
from fitcli.commands.demo import demo
from fitcli.commands.detect import detect
from fitcli.commands.embed import embed
from fitcli.commands.evaluate import evaluate
from fitcli.commands.generate import generate
from fitcli.commands.info import info
from fitcli.commands.plain_usage import PlainUsageCommand
from fitcli.commands.profile_memory import profile_memory
from fitcli.commands.repeated_values import RepeatedValuesCommand
from fitcli.commands.segment import segment
from fitcli.commands.task_help import TaskCommand
from fitcli.commands.train import train
from fitcli.commands.view import view
from fitcli.errors import FitError, is_out_of_memory, out_of_memory_text
from fitcli.interrupts import INTERRUPTED

P = ParamSpec("P")
R = TypeVar("R")

app = typer.Typer(
    name="fit",
    help="Train and run FIT (Far-reaching Interleaved Transformers) end to end on gigapixel images.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
    context_settings={"help_option_names": ["--help", "-h"]},
)


def reports_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Wrap a command so that errors of the user are printed as one line; bugs keep their traceback."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        before = console.error_count()
        try:
            _check_models_package()
            return command(*args, **kwargs)
        except KeyboardInterrupt as stop:
            # Python's codecs raise an interrupt again, with a text of their own.
            texts = () if stop.__cause__ is not None else stop.args
            console.log(": ".join(["interrupted", *map(str, texts)]))
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            # The reader of stdout has ended (`fit info ... | head`). Python flushes stdout at exit: discard that.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            # The reader got the lines that it wanted, but errors that were printed before still count.
            raise typer.Exit(int(console.error_count() > before)) from None
        except Exception as error:
            if (message := _message(error)) is None:
                raise
            console.error(message)
            raise typer.Exit(1) from None

    return wrapped


def _message(error: Exception) -> str | None:
    """Return the line to print for an error that the user can fix; None for a bug."""
    if isinstance(error, FitError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        # For example a full disk, or a folder without write permission.
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if is_out_of_memory(error):
        return out_of_memory_text(error)
    if type(error).__module__.startswith("torch."):
        from fitcli.device.compilation import compile_error, is_compile_error

        return compile_error(error) if is_compile_error(error) else None
    # Imported late: if another package called `models` comes first, `_check_models_package` reports that.
    from models.checks import ConfigError

    return str(error) if isinstance(error, ConfigError) else None


def _check_models_package() -> None:
    """Raise FitError if Python finds another package called `models`, which is a common name."""
    spec = importlib.util.find_spec("models")
    ours = Path(__file__).parent.parent / "models" / "__init__.py"
    if spec is None or spec.origin is None or not os.path.samefile(spec.origin, ours):
        place = "none" if spec is None else spec.origin
        raise FitError(
            f"fit needs its own package 'models' beside {Path(__file__).parent}, but Python finds {place}; run the "
            "console script `fit` from a folder without a 'models' of its own, or uninstall the other package"
        )


def _show_version(value: bool) -> None:
    if value:
        console.data(f"fit {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of errors.")] = False,
) -> None:
    """Handle the options that come before the command."""
    if debug:
        os.environ["FIT_DEBUG"] = "1"


def help_text(command: Callable[..., None]) -> str:
    """Return the docstring of a command with each paragraph on one line, so that the terminal breaks the lines."""
    paragraphs = (command.__doc__ or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


SHAPES: dict[Callable[..., None], type[TyperCommand]] = {train: TaskCommand, profile_memory: RepeatedValuesCommand}
"""Commands that read their arguments in a way of their own."""

for command in (info, demo, train, classify, segment, detect, embed, evaluate, generate, view, profile_memory):
    app.command(help=help_text(command), cls=SHAPES.get(command, PlainUsageCommand))(reports_errors(command))


def main() -> None:
    """Run the command that the arguments of the process name."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # As on stderr: file names need not be valid text, and the encoding may lack characters.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app()
    except OSError as error:
        # From --help or --version, which no command handles.
        if console.debugging() or (message := _message(error)) is None:
            raise
        console.error(message)
        sys.exit(1)
