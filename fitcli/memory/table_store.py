"""Finds the table of a step: among those that fit ships, in the cache of the user, or by a dry run."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import torch

from fitcli import console
from fitcli.files.publish import write_text
from fitcli.memory.dry_run import DryRun
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
    key = run.key
    if (shipped := _shipped(key)) is not None:
        return shipped
    path = cache_folder() / f"{key}.json"
    if (cached := _cached(path)) is not None:
        return cached
    with console.progress("estimating memory") as advance:
        table = run.table()
        advance(1)
    _save(path, table)
    return table


def cache_folder() -> Path:
    """Return the folder for tables in the cache of the user; it need not exist."""
    root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(root) / "fit" / "memory"


def _shipped(key: str) -> Table | None:
    """Return a table that fit ships. It holds for every version of torch that fit supports."""
    try:
        with zipfile.ZipFile(SHIPPED) as archive:
            return Table.from_document(json.loads(archive.read(f"{key}.json")))
    except (OSError, KeyError):
        return None


def _cached(path: Path) -> Table | None:
    """Return a table from the cache; None if there is none, or one that is damaged or of another version."""
    try:
        if path.stat().st_size > LARGEST_BYTES:
            return None
        document = json.loads(path.read_text(encoding="utf-8"))
        return Table.from_document(document) if document["made_by"] == _maker() else None
    except (OSError, ValueError, KeyError, TypeError, IndexError, OverflowError, AttributeError, RecursionError):
        return None


def _save(path: Path, table: Table) -> None:
    """Keep a table in the cache, if it can be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps({"made_by": _maker(), **table.to_document()}))
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
