"""Files of polygons are read once per process, and anew when they change."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.polygons import collection, feature, square, write

from fitcli.annotations import polygon_file as module
from fitcli.annotations.polygon_file import read_polygon_file
from fitcli.errors import ImageError


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were read."""
    done: list[Path] = []
    read = module.read_geojson
    monkeypatch.setattr(module, "read_geojson", lambda path, points: done.append(path) or read(path, points))
    monkeypatch.setattr(module._files, "_files", type(module._files._files)())
    return done


def content(name: str) -> Any:
    return collection(feature(square(0, 0, 5), name))


def test_threads_read_a_file_once(tmp_path: Path, readings: list[Path]) -> None:
    path = write(tmp_path / "a.json", content("a"))
    with ThreadPoolExecutor(8) as pool:
        files = list(pool.map(read_polygon_file, [path] * 40))
    assert len(readings) == 1
    assert all(file is files[0] for file in files)


def test_a_changed_file_is_read_anew(tmp_path: Path, readings: list[Path]) -> None:
    path = write(tmp_path / "a.json", content("a"))
    assert read_polygon_file(path).content.names == ("a",)
    write(path, content("b"))
    os.utime(path, ns=(1, 1))
    assert read_polygon_file(path).content.names == ("b",)
    assert len(readings) == 2


def test_the_files_that_are_kept_have_a_limit(
    tmp_path: Path, readings: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [write(tmp_path / f"{number}.json", content("a")) for number in range(4)]
    monkeypatch.setattr(module._files, "most_bytes", 2 * read_polygon_file(paths[0]).size_bytes)
    for path in (*paths, paths[3], paths[2], paths[0]):
        read_polygon_file(path)
    assert [path.stem for path in readings] == ["0", "1", "2", "3", "0"]
    monkeypatch.setattr(module._files, "most_bytes", 1)
    for _ in range(2):
        read_polygon_file(paths[1])
    assert [path.stem for path in readings[5:]] == ["1"]


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot be read"):
        read_polygon_file(tmp_path / "missing.json")
