"""A data set is made whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from fitcli.demo.make_files import RENDERED, Stop, make_files, windows
from fitcli.errors import FitError


def test_windows_cover_an_image_once() -> None:
    found = list(windows(RENDERED + 1, 2 * RENDERED))
    assert sum(window.area for window in found) == (RENDERED + 1) * 2 * RENDERED
    assert [(window.top, window.left) for window in found] == [
        (0, 0),
        (0, RENDERED),
        (RENDERED, 0),
        (RENDERED, RENDERED),
    ]


def test_all_files_are_made_and_described_last(tmp_path: Path) -> None:
    fractions: list[float] = []

    def write(stop: Stop) -> None:
        stop()
        (tmp_path / "data/a/file").touch()

    def finish() -> None:
        assert (tmp_path / "data/a/file").exists()
        (tmp_path / "data/list").touch()

    make_files(tmp_path / "data", ["a", "b"], [write, write], finish, fractions.append)
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["a", "b", "list"]
    assert fractions == [0.5, 0.5]


def test_a_failure_stops_the_other_files_and_leaves_nothing(tmp_path: Path) -> None:
    def fail(stop: Stop) -> None:
        raise FitError("no more room")

    def never_ends(stop: Stop) -> None:
        while True:
            stop()

    with pytest.raises(FitError, match="no more room"):
        make_files(tmp_path / "data", ["a"], [fail, never_ends], lambda: None, lambda fraction: None)
    assert not list(tmp_path.iterdir())


def test_a_folder_with_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(FitError, match="is not an empty folder"):
        make_files(tmp_path, [], [], lambda: None, lambda fraction: None)
