"""Files are read once, and anew when they change; forked processes have locks of their own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fitcli.annotations.file_cache import FileCache, _renew_all
from fitcli.errors import ImageError


def test_read_once_and_anew_when_changed(tmp_path: Path) -> None:
    done: list[Path] = []
    cache = FileCache(lambda path: done.append(path) or path.read_text(), len, 100)
    path = tmp_path / "a"
    path.write_text("one")
    assert [cache.get(path), cache.get(path)] == ["one", "one"]
    path.write_text("two!")
    os.utime(path, ns=(1, 1))
    assert cache.get(path) == "two!"
    assert len(done) == 2


def test_the_oldest_go_first(tmp_path: Path) -> None:
    done: list[str] = []
    cache = FileCache(lambda path: done.append(path.name) or path.read_text(), len, 8)
    for name in "abc":
        (tmp_path / name).write_text("1234")
    for name in "abacabb":
        cache.get(tmp_path / name)
    assert done == ["a", "b", "c", "b"]


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot be read"):
        FileCache(lambda path: "", len, 1).get(tmp_path / "none")


def test_a_fork_takes_no_lock_along() -> None:
    cache = FileCache(lambda path: "", len, 1)
    before = cache._lock, cache._reading
    _renew_all()
    assert cache._lock is not before[0]
    assert cache._reading is not before[1]
