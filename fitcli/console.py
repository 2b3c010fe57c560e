"""The only place that prints. stdout is data; everything said to a person goes to stderr."""

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
    """Shows `:smile:` in a path as it is, and leaves it to the caller what a closed pipe means."""

    silent = False
    """Whether nothing is shown, see `muted`."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(highlight=False, emoji=False, quiet=self.silent, **settings)

    @property
    def is_terminal(self) -> bool:
        """Nobody watches what says nothing."""
        return not self.silent and super().is_terminal

    def on_broken_pipe(self) -> None:
        """Called while a BrokenPipeError is handled. Rich would exit with 1: whoever called us decides."""
        raise


_captured: list[tuple[str, str]] | None = None


@contextmanager
def captured() -> Iterator[list[tuple[str, str]]]:
    """Collect what would be said to a person, for `repeat`, here or in another process."""
    global _captured
    before, _captured = _captured, []
    try:
        yield _captured
    finally:
        _captured = before


def repeat(said: Iterable[Sequence[str]]) -> None:
    """Say what was captured."""
    for kind, message in said:
        {"error": error, "warning": warning, "log": log}[kind](message)


def _kept(kind: str, message: str) -> bool:
    """Whether a message is captured rather than said."""
    if _captured is None:
        return False
    _captured.append((kind, message))
    return True


def _stdout() -> Console:
    # Made per call: a test or a pipe may have put another stream in place since the import. Without a terminal a table
    # may be as wide as it needs: nobody wants a path cut short in a pipe.
    console = Console(markup=False)
    return console if console.is_terminal else Console(markup=False, width=10_000)


def _stderr() -> Console:
    return Console(stderr=True, soft_wrap=True)


@contextmanager
def muted() -> Iterator[None]:
    """Say nothing while the context lasts: another process of the same job does."""
    Console.silent = True
    try:
        yield
    finally:
        Console.silent = False


def debugging() -> bool:
    """Whether errors are shown with their traceback: `fit --debug`."""
    return os.environ.get("FIT_DEBUG", "") not in ("", "0")


def data(text: str) -> None:
    """Print a result."""
    _stdout().print(_lines(text), soft_wrap=True)


def json(document: Any) -> None:
    """Print exactly one JSON document."""
    _stdout().print(json_module.dumps(document, indent=2, allow_nan=False), soft_wrap=True)


def table(columns: Sequence[str], rows: Iterable[Sequence[str | Sequence[str]]], title: str | None = None) -> None:
    """Print a table of results: each cell a line, or several."""
    if title is not None:
        # Not as a part of the table, which would fold it to its own width.
        data(title)
    shown = Table(box=None, pad_edge=False)
    for column in columns:
        shown.add_column(plain(column), overflow="fold")
    for row in rows:
        shown.add_row(*(plain(cell) if isinstance(cell, str) else "\n".join(map(plain, cell)) for cell in row))
    _stdout().print(shown, soft_wrap=False)


_errors = 0


def errors_said() -> int:
    """How many errors this process has said so far."""
    return _errors


def error(message: str) -> None:
    """Say what went wrong: one line, and after it the traceback of what is being handled where that is asked for."""
    global _errors
    if _kept("error", message):
        return
    _errors += 1
    _stderr().print("[bold red]error:[/] ", end="")
    _stderr().print(_line(message), markup=False)
    if debugging() and sys.exc_info()[0] is not None:
        _stderr().print_exception()


def warning(message: str) -> None:
    """Say what may not be what the user wants."""
    if _kept("warning", message):
        return
    _stderr().print("[yellow]warning:[/] ", end="")
    _stderr().print(_line(message), markup=False)


def _line(message: str) -> str:
    """In words with single spaces between them."""
    return plain(" ".join(message.split()))


def _lines(message: str) -> str:
    return "\n".join(map(plain, message.split("\n")))


def log(message: str) -> None:
    """Say what has happened: a line that also stays in the log of a job without a terminal."""
    if _kept("log", message):
        return
    _stderr().print(_lines(message), markup=False, style="dim")


def hint(message: str) -> None:
    """Say what is going on, or what to do next, to a person who watches: nothing where stderr is no terminal."""
    if _stderr().is_terminal:
        log(message)


@contextmanager
def progress(description: str) -> Iterator[Callable[[float], None]]:
    """A progress bar on stderr, gone when done, nothing at all where stderr is no terminal.

    Yields:
        What advances it, by a share of the whole.
    """
    console = _stderr()
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(plain(description), total=1.0)
        yield lambda share: bar.advance(task, share)


@contextmanager
def status(description: str) -> Iterator[Callable[[float, str | None], None]]:
    """The same with words that change: what is going on right now.

    Yields:
        What advances it, by a share of the whole, and says what is going on, where that is not None.
    """
    console = _stderr()
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[words]}", markup=False),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(plain(description), total=1.0, words="")

        def show(share: float, words: str | None) -> None:
            bar.update(task, advance=share)
            if words is not None:
                bar.update(task, words=words)

        yield show


@contextmanager
def live() -> Iterator[Live | None]:
    """A region on stderr that is redrawn, and stays as it was last; None where stderr is no terminal."""
    console = _stderr()
    if not console.is_terminal:
        yield None
        return
    with Live(console=console, refresh_per_second=4) as region:
        yield region
