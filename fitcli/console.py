"""Prints everything that `fit` prints: results to stdout, messages for a person to stderr."""

from __future__ import annotations

import json as json_module
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console as RichConsole
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from fitcli.errors import plain


class Console(RichConsole):
    """Prints text such as `:smile:` unchanged, and leaves a closed pipe to the caller."""

    silent = False
    """Whether nothing is printed, see `muted`."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(highlight=False, emoji=False, quiet=self.silent, **settings)

    @property
    def is_terminal(self) -> bool:
        """Whether to print colors; False for a silent console."""
        return not self.silent and super().is_terminal

    @property
    def is_watched(self) -> bool:
        """Whether a person may be watching.

        FORCE_COLOR and TTY_COMPATIBLE make a terminal of any file for rich. They decide on colors alone: a live display
        would fill a log with movements of the cursor.
        """
        return self.is_terminal and self.file.isatty()

    def on_broken_pipe(self) -> None:
        """Raise the BrokenPipeError that is being handled. rich would exit with code 1 here."""
        raise


_captured: list[tuple[str, str]] | None = None


@contextmanager
def captured() -> Iterator[list[tuple[str, str]]]:
    """Collect messages instead of printing them, for `repeat` in this process or another.

    Yields:
        A list that receives (kind, message) pairs.
    """
    global _captured
    before, _captured = _captured, []
    try:
        yield _captured
    finally:
        _captured = before


def repeat(messages: Iterable[Sequence[str]]) -> None:
    """Print the messages that `captured` collected."""
    for kind, message in messages:
        {"error": error, "warning": warning, "log": log}[kind](message)


def _capture(kind: str, message: str) -> bool:
    """Add a message to the captured ones. Return False if messages are printed."""
    if _captured is None:
        return False
    _captured.append((kind, message))
    return True


def _stdout() -> Console:
    # Created per call, because a test or a pipe may have replaced the stream since the import. Without a terminal,
    # tables get their full width, so that no path is cut short in a pipe.
    console = Console(markup=False)
    return console if console.is_watched else Console(markup=False, width=10_000)


def _stderr() -> Console:
    return Console(stderr=True, soft_wrap=True)


@contextmanager
def muted() -> Iterator[None]:
    """Print nothing within the context, because another process of the job prints."""
    Console.silent = True
    try:
        yield
    finally:
        Console.silent = False


def debugging() -> bool:
    """Return whether errors are printed with their traceback (`fit --debug`)."""
    return os.environ.get("FIT_DEBUG", "") not in ("", "0")


def data(text: str) -> None:
    """Print a result of one line."""
    _stdout().print(plain(text), soft_wrap=True)


def json(document: Any) -> None:
    """Print exactly one JSON document."""
    _stdout().print(json_module.dumps(document, indent=2, allow_nan=False), soft_wrap=True)


def table(columns: Sequence[str], rows: Iterable[Sequence[str | Sequence[str]]], title: str | None = None) -> None:
    """Print a table of results. A cell is one line (a string) or several (a sequence of strings)."""
    if title is not None:
        # A title within the table would be folded to the width of the table.
        data(title)
    shown = Table(box=None, pad_edge=False)
    for column in columns:
        shown.add_column(plain(column), overflow="fold")
    for row in rows:
        shown.add_row(*(plain(cell) if isinstance(cell, str) else "\n".join(map(plain, cell)) for cell in row))
    _stdout().print(shown, soft_wrap=False)


_errors = 0


def error_count() -> int:
    """Return the number of errors that this process has printed so far."""
    return _errors


def error(message: str) -> None:
    """Print an error as one line. With `--debug`, the traceback of the exception that is being handled follows."""
    global _errors
    if _capture("error", message):
        return
    _errors += 1
    _stderr().print("[bold red]error:[/] ", end="")
    _stderr().print(plain(message.strip()), markup=False)
    if debugging() and sys.exc_info()[0] is not None:
        _stderr().print_exception()


def last_error(message: str) -> None:
    """Print an error from a thread that ends the process: neither muted nor captured, and the cursor is shown again."""
    global _captured
    Console.silent, _captured = False, None
    _stderr().show_cursor(True)
    error(message)


def warning(message: str) -> None:
    """Print a warning as one line."""
    if _capture("warning", message):
        return
    _stderr().print("[yellow]warning:[/] ", end="")
    _stderr().print(plain(message.strip()), markup=False)


def log(message: str) -> None:
    """Print a message of one line that also belongs in the log of a job without a terminal."""
    if _capture("log", message):
        return
    _stderr().print(plain(message), markup=False, style="dim")


def hint(message: str) -> None:
    """Print a message for a person who is watching. Without a terminal on stderr, print nothing."""
    if _stderr().is_watched:
        log(message)


@contextmanager
def progress(description: str) -> Iterator[Callable[[float], None]]:
    """Show a progress bar on stderr until the context ends. Without a terminal, show nothing.

    Yields:
        A function that advances the bar by a fraction of the whole.
    """
    console = _stderr()
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_watched) as bar:
        task = bar.add_task(plain(description), total=1.0)
        yield lambda fraction: bar.advance(task, fraction)


@contextmanager
def status(description: str) -> Iterator[Callable[[float, str | None], None]]:
    """Show a progress bar with a text that changes: the current activity.

    Yields:
        A function that advances the bar by a fraction of the whole and replaces the text; None keeps the text.
    """
    console = _stderr()
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[words]}", markup=False),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_watched) as bar:
        task = bar.add_task(plain(description), total=1.0, words="")

        def show(fraction: float, words: str | None) -> None:
            bar.update(task, advance=fraction)
            if words is not None:
                bar.update(task, words=plain(words))

        yield show


@contextmanager
def live() -> Iterator[Live | None]:
    """Open a region on stderr that can be redrawn and that stays at the end; yield None without a terminal."""
    console = _stderr()
    if not console.is_watched:
        yield None
        return
    with Live(console=console, refresh_per_second=4) as region:
        yield region
