"""Finds the table of a step: among those that fit ships, in the cache of the user, or by a dry run."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import zipfile
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import torch

from fitcli import console
from fitcli.files.publish import write_text
from fitcli.memory.dry_run import DryRun
from fitcli.memory.run_apart import table_apart
from fitcli.memory.table import Table

SHIPPED = Path(__file__).with_name("tables.zip")
"""Tables of the presets, one JSON document per table. Their name is the key of the step."""

LARGEST_BYTES = 1 << 20
"""Largest size of a table in the cache."""

CODE = ("models", "fitcli/execution", "fitcli/memory", "fitcli/streaming", "fitcli/tasks")
"""Places of the code that decides what a step takes."""


@cache
def find_table(run: DryRun) -> Table:
    """Return the table of a step or a pass.

    Raises:
        FitError: The step cannot run without memory.
    """
    if run.has_added_part:
        # Other processes may lack the part, and its code may change while its name stays.
        return run.table()
    if (known := _known(run.key)) is not None:
        return known
    with console.progress("estimating memory") as advance:
        table = table_apart(run)
        advance(1)
    _save(run.key, table)
    return table


def cache_folder() -> Path:
    """Return the folder for tables in the cache of the user; it need not exist.

    A relative `XDG_CACHE_HOME` is ignored, as the XDG Base Directory Specification demands.
    """
    root = os.environ.get("XDG_CACHE_HOME", "")
    return Path(root if os.path.isabs(root) else os.path.expanduser("~/.cache")) / "fit" / "memory"


def _known(key: str) -> Table | None:
    """Return a table that fit ships or that is in the cache; None if there is none."""
    return _shipped(key) or _cached(key)


def _path(key: str) -> Path:
    return cache_folder() / f"{key}.json"


def _shipped(key: str) -> Table | None:
    """Return a table that fit ships. It holds for every version of torch that fit supports."""
    try:
        with zipfile.ZipFile(SHIPPED) as archive:
            return Table.from_document(json.loads(archive.read(f"{key}.json")))
    except (OSError, KeyError, zipfile.BadZipFile):
        return None


def _cached(key: str) -> Table | None:
    """Return a table from the cache; None if there is none, or one that is damaged or of another step or version."""
    try:
        document = json.loads(_read_regular(_path(key)))
        table = Table.from_document(document["table"])
        return table if document["key"] == key and document["digest"] == _digest(key, document["table"]) else None
    except (OSError, ValueError, KeyError, TypeError, IndexError, OverflowError, AttributeError, RecursionError):
        return None


def _read_regular(path: Path) -> bytes:
    """Read a regular file. Anything else could block or never end: a pipe, a device, or a link to one.

    Raises:
        OSError, ValueError: It is no regular file, is larger than any table, or cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST_BYTES:
            raise ValueError("no table")
        return file.read(LARGEST_BYTES)


def _digest(key: str, document: dict[str, Any]) -> str:
    """Return the hash of a table and of all that it depends on."""
    return hashlib.sha256(json.dumps([key, _maker(), document], sort_keys=True).encode()).hexdigest()


def _save(key: str, table: Table) -> None:
    """Keep a table in the cache, if it can be written."""
    path, document = _path(key), table.to_document()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps({"key": key, "digest": _digest(key, document), "table": document}))
    except Exception as error:
        # A cache that cannot be written costs time only.
        if console.debugging():
            console.log(f"{path}: not kept ({error})")


@cache
def _maker() -> list[str]:
    """Return what the tables of the cache depend on beside the step: the version of torch, and the code."""
    digest = hashlib.sha256()
    root = Path(__file__).parents[2]
    for path in sorted(path for place in CODE for path in (root / place).rglob("*.py")):
        digest.update(path.read_bytes())
    return [torch.__version__, digest.hexdigest()]


def make(path: Path, runs: Iterable[DryRun]) -> Iterator[str]:
    """Write the tables of steps and passes as an archive; yield the key of each."""
    documents: dict[str, dict[str, Any]] = {}
    for run in runs:
        documents[run.key] = run.table().to_document()
        yield run.key
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for key, document in sorted(documents.items()):
            # A fixed date, so that the same tables are the same file.
            entry = zipfile.ZipInfo(f"{key}.json", date_time=(1980, 1, 1, 0, 0, 0))
            archive.writestr(entry, json.dumps(document, separators=(",", ":")), zipfile.ZIP_DEFLATED, 9)
