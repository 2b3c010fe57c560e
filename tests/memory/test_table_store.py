"""Tables are found where they are shipped or cached; a cache that is damaged, foreign or read-only changes nothing."""

from __future__ import annotations

import json
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
        self.key, self.runs = key, 0

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


DAMAGE: dict[str, Any] = {
    "cut off": lambda text: text[:-9],
    "empty": lambda text: "",
    "no object": lambda text: "[1]",
    "nested": lambda text: "[" * 100_000,
    "too long": lambda text: text + " " * table_store.LARGEST_BYTES,
    "other torch": lambda text: json.dumps(json.loads(text) | {"made_by": ["1.0", "x"]}),
    "no maker": lambda text: json.dumps({k: v for k, v in json.loads(text).items() if k != "made_by"}),
    "no lines": lambda text: json.dumps(json.loads(text) | {"lines": []}),
    "huge": lambda text: json.dumps(json.loads(text) | {"lines": [[[0, 0, 10**400]]]}),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_or_foreign_table_is_made_again(damage: str) -> None:
    run = Counted()
    found(run)
    path = cache_folder() / f"{run.key}.json"
    path.write_text(DAMAGE[damage](path.read_text()))
    assert found(run) == 2
    assert found(run) == 2, "it is whole again"


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
