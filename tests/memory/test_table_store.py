"""Tables are found where they are shipped or cached; a cache that is damaged, foreign or read-only changes nothing."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fitcli.memory import table_store
from fitcli.memory.meter import PURPOSES
from fitcli.memory.sizes import Size
from fitcli.memory.table import Table
from fitcli.memory.table_store import cache_folder, find_table, make


class Counted:
    """A dry run that counts how often it runs."""

    def __init__(self, key: str = "a" * 64) -> None:
        self.key, self.runs, self.has_added_part = key, 0, False

    def table(self) -> Table:
        self.runs += 1
        return Table(np.ones((1, len(PURPOSES), len(Size))), {"local, product": np.ones(len(Size))})


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    find_table.cache_clear()
    yield
    find_table.cache_clear()


def found(run: Counted) -> int:
    """Find a table as a new process would; return how often the step has run so far."""
    find_table.cache_clear()
    assert (find_table(run).lines == 1).all()
    return run.runs


def test_a_table_is_made_once() -> None:
    run = Counted()
    assert found(run) == found(run) == 1
    assert [path.name for path in cache_folder().iterdir()] == [f"{run.key}.json"]
    assert found(Counted("b" * 64)) == 1, "another step has another table"


def test_a_table_of_a_model_with_a_part_of_others_is_not_kept() -> None:
    run = Counted()
    run.has_added_part = True
    assert (found(run), found(run)) == (1, 2)
    assert not cache_folder().exists()


DAMAGE: dict[str, Any] = {
    "cut off": lambda text: text[:-9],
    "empty": lambda text: "",
    "no object": lambda text: "[1]",
    "nested": lambda text: "[" * 100_000,
    "too long": lambda text: text + " " * table_store.LARGEST_BYTES,
    "no digest": lambda text: json.dumps({k: v for k, v in json.loads(text).items() if k != "digest"}),
    "other digest": lambda text: json.dumps(json.loads(text) | {"digest": "0" * 64}),
    "other lines": lambda text: text.replace("[0, 0, 1]", "[0, 0, 2]"),
    "of another key": lambda text: text.replace("a" * 64, "b" * 64),
}

TABLES: dict[str, dict[str, Any]] = {
    "no lines": {"lines": []},
    "an empty line": {"lines": [[]]},
    "huge": {"lines": [[[0, 0, 10**400]]]},
    "negative": {"lines": [[[0, 0, -1]]]},
    "a fraction": {"lines": [[[0, 0, 0.5]]]},
    "not a number": {"lines": [[[0, 0, math.nan]]]},
    "no such size": {"lines": [[[0, len(Size), 1]]]},
    "counted from the end": {"lines": [[[-1, 0, 1]]]},
    "no operations": {"flops": {}},
    "operations that are none": {"flops": {"local, product": [0] * len(Size)}},
    "negative operations": {"flops": {"local, product": [-1] * len(Size)}},
    "operations of other sizes": {"flops": {"local, product": [1]}},
}
"""Tables that no model has, in files that are whole."""


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_or_foreign_table_is_made_again(damage: str) -> None:
    run = Counted()
    found(run)
    path = cache_folder() / f"{run.key}.json"
    path.write_text(DAMAGE[damage](path.read_text()))
    assert found(run) == 2
    assert found(run) == 2, "it is whole again"


@pytest.mark.parametrize("change", TABLES)
def test_a_table_that_no_model_has_is_made_again(change: str) -> None:
    run = Counted()
    found(run)
    path = cache_folder() / f"{run.key}.json"
    table = json.loads(path.read_text())["table"] | TABLES[change]
    path.write_text(json.dumps({"key": run.key, "digest": table_store._digest(run.key, table), "table": table}))
    assert (found(run), found(run)) == (2, 2)


def test_a_table_of_another_version_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Counted()
    found(run)
    monkeypatch.setattr(table_store, "_maker", lambda: ["1.0", "another code"])
    assert (found(run), found(run)) == (2, 2)


@pytest.mark.parametrize("kind", ["pipe", "folder", "link to a device", "link to a pipe"])
def test_only_regular_files_are_read(kind: str, tmp_path: Path) -> None:
    """A pipe would never answer, and /dev/zero would never end."""
    run = Counted()
    cache_folder().mkdir(parents=True)
    path = cache_folder() / f"{run.key}.json"
    os.mkfifo(tmp_path / "pipe")
    {
        "pipe": lambda: os.mkfifo(path),
        "folder": path.mkdir,
        "link to a device": lambda: path.symlink_to("/dev/zero"),
        "link to a pipe": lambda: path.symlink_to(tmp_path / "pipe"),
    }[kind]()
    assert found(run) == 1
    assert found(run) == (2 if kind == "folder" else 1), "a file has taken its place"


def test_a_relative_cache_folder_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for value in ("cache", "./cache", ""):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert cache_folder() == tmp_path / ".cache" / "fit" / "memory"


def test_a_cache_that_cannot_be_written_costs_time_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    run = Counted()
    assert (found(run), found(run)) == (1, 2)


def test_a_link_in_the_cache_is_not_written_through(tmp_path: Path) -> None:
    run, outside = Counted(), tmp_path / "outside.txt"
    outside.write_text("mine")
    cache_folder().mkdir(parents=True)
    os.symlink(outside, cache_folder() / f"{run.key}.json")
    found(run)
    assert outside.read_text() == "mine"


def test_shipped_tables_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Counted()
    shipped = tmp_path / "tables.zip"
    assert list(make(shipped, [run])) == [run.key]
    first = shipped.read_bytes()
    assert list(make(shipped, [run])) == [run.key]
    assert shipped.read_bytes() == first, "the same tables are the same file"
    monkeypatch.setattr(table_store, "SHIPPED", shipped)
    assert found(run) == 2, "only to make the file"
    assert not cache_folder().exists()
