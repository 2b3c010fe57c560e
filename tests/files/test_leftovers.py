"""What a killed process left is removed, and nothing else: not where it looks like it, and not through links."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from errno import ENOLCK
from pathlib import Path

import pytest
from support.system_calls import Failure, die, failing, in_child, names

from fitcli.files import publish
from fitcli.files.file_lock import FileLock
from fitcli.files.leftovers import is_leftover, remove_leftovers, remove_old_partials
from fitcli.files.publish import Publication, publish_folder, remove_folder, write_text
from fitcli.files.staging import SLOTS, recover

OURS: dict[str, Callable[[Path], object]] = {
    ".model.safetensors.partial-0a1b2c3d": Path.touch,
    ".config.json.partial-0a1b2c3d": Path.touch,
    ".metrics.jsonl.partial-0a1b2c3d": Path.touch,
    ".position.pt.partial-0a1b2c3d": Path.touch,
    ".00000400.partial-0a1b2c3d": lambda path: (path / "deep").mkdir(parents=True),
    ".tmpaB3xYz": Path.touch,
    ".tmpaB3xY0": lambda path: path.write_bytes((10).to_bytes(8, "little") + b'{"a":'),
    ".fit-0123456789abcdef-00": Path.mkdir,
    ".fit-0123456789abcdef-removed": lambda path: (path / "deep").mkdir(parents=True),
}
"""Leftovers of this version and of older ones."""

MINE: dict[str, Callable[[Path], object]] = {
    ".notes.partial-draft": Path.touch,
    ".notes.partial-0a1b2c3d": Path.touch,
    ".model.safetensors.partial-draft": Path.touch,
    "model.safetensors.partial-0a1b2c3d": Path.touch,
    ".partial-0a1b2c3d": Path.touch,
    ".tmp": Path.mkdir,
    ".tmpfolder": Path.mkdir,
    ".tmpabcdef": Path.mkdir,
    ".tmpletter": lambda path: path.write_text("dear"),
    ".tmpletta1": lambda path: path.write_text("dear reader, {"),
    ".fit-0123456789abcdef-01": Path.touch,
    ".fit-0123456789abcdef-02": lambda path: (path / "thesis").mkdir(parents=True),
    ".fit-notes": Path.mkdir,
    ".fit-0123456789abcdef-remove": Path.mkdir,
    "2024": Path.mkdir,
    ".0000400.partial-0a1b2c3d": Path.mkdir,
}
"""Files and folders of a user."""


def test_ours_go_and_those_of_the_user_stay(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "within", tmp_path / "elsewhere"):
        place.mkdir(exist_ok=True)
        for name, make in {**OURS, **MINE}.items():
            make(place / name)
            assert is_leftover(place / name) == (name in OURS), name
    remove_leftovers(tmp_path, "within", "missing")
    assert names(tmp_path) == sorted([*MINE, "within", "elsewhere"])
    assert names(tmp_path / "within") == sorted(MINE)
    assert names(tmp_path / "elsewhere") == sorted([*MINE, *OURS])


def test_links_are_not_followed(tmp_path: Path) -> None:
    run, other = tmp_path / "run", tmp_path / "other"
    run.mkdir()
    other.mkdir()
    for name, make in OURS.items():
        make(other / name)
        (run / name).symlink_to(other / name)
        assert not is_leftover(run / name)
    (run / "training").symlink_to(other)
    remove_leftovers(run, "training")
    assert names(other) == sorted(OURS)
    assert names(run) == sorted([*OURS, "training"])


def kill(do: Callable[[], None], name: str) -> None:
    """Run a function in a child that dies in the first call of this name."""

    def seen(called: str, arguments: tuple[object, ...]) -> None:
        if called == name:
            die()

    def killed() -> None:
        with failing(Failure(die, seen=seen), exchange=False):
            do()

    assert in_child(killed) == 9


def write(path: Path, value: str) -> None:
    with publish_folder(path) as folder:
        (folder / value).touch()


def test_what_was_moved_away_is_put_back_by_whoever_cleans_up(tmp_path: Path) -> None:
    write(tmp_path / "a", "old")
    moved: list[str] = []

    def seen(called: str, arguments: tuple[object, ...]) -> None:
        if called == "rename":
            moved.append(str(arguments))
            if len(moved) == 2:
                die()

    def killed() -> None:
        with failing(Failure(die, seen=seen), exchange=False):
            write(tmp_path / "a", "new")

    assert in_child(killed) == 9
    (staging,) = tmp_path.iterdir()
    assert names(staging / "old") == ["a"], "a person sees what it is"
    remove_leftovers(tmp_path)
    assert names(tmp_path) == ["a"]
    assert names(tmp_path / "a") == ["old"]


def test_a_folder_that_was_being_removed_goes(tmp_path: Path) -> None:
    write(tmp_path / "a", "old")
    kill(lambda: remove_folder(tmp_path / "a"), "unlink")
    assert len(names(tmp_path)) == 1
    write(tmp_path / "a", "new")
    remove_folder(tmp_path / "a")
    assert names(tmp_path) == []


def test_without_locks_what_may_be_in_use_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only who knows to be alone removes it. What stood at the target is put back all the same."""

    def flock(*_: object) -> None:
        raise OSError(ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    monkeypatch.setattr(publish, "exchange", lambda one, other: False)
    write(tmp_path / "a", "old")
    first = Publication(tmp_path / "a")
    first.path.write_text("by another process")
    write(tmp_path / "a", "new")
    assert first.path.read_text() == "by another process"
    (first.path.parent / "old").mkdir()
    os.rename(tmp_path / "a", first.path.parent / "old/a")
    recover(tmp_path / "a")
    assert names(tmp_path / "a") == ["new"]
    assert first.path.exists()
    for _ in range(SLOTS - 1):
        Publication(tmp_path / "a")
    with pytest.raises(OSError, match="unfinished copies are beside it already"):
        write(tmp_path / "a", "newer")
    remove_leftovers(tmp_path)
    assert names(tmp_path) == ["a"]
    write(tmp_path / "a", "newer")
    assert names(tmp_path / "a") == ["newer"]


def test_a_file_system_that_keeps_open_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NFS gives a file that is removed while it is open another name until it is closed."""
    unlink, close, renamed = os.unlink, FileLock.close, []

    def rename(path: Path) -> None:
        if Path(path).name == "lock":
            renamed.append(Path(path).with_name(".nfs0001"))
            os.rename(path, renamed[-1])
        else:
            unlink(path)

    def close_and_remove(self: FileLock) -> None:
        close(self)
        while renamed:
            unlink(renamed.pop())

    monkeypatch.setattr(os, "unlink", rename)
    monkeypatch.setattr(FileLock, "close", close_and_remove)
    write_text(tmp_path / "a", "old")
    write_text(tmp_path / "a", "new")
    assert names(tmp_path) == ["a"]


def test_a_folder_of_the_user_in_the_way_is_passed_by(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "old")
    place = Publication(tmp_path / "a").path.parent
    recover(tmp_path / "a")
    assert place.exists(), "it is in use"
    (place / "thesis").touch()
    write_text(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "new"
    assert (place / "thesis").exists()


def test_unfinished_features_of_older_versions(tmp_path: Path) -> None:
    ours = (".x.zarr.partial-0a1b2c3d", ".x.zarr.partial-0a1b2c3d-replaced")
    mine = (".x.zarr.partial-draft", ".y.zarr.partial-0a1b2c3d", ".x.zarr", "x.zarr.partial-0a1b2c3d")
    for name in (*ours, *mine):
        (tmp_path / name / "deep").mkdir(parents=True)
    remove_old_partials(tmp_path / "x.zarr")
    assert names(tmp_path) == sorted([*mine, "x.zarr"]), "what stood there is put back"
    (tmp_path / ours[1]).mkdir()
    remove_old_partials(tmp_path / "x.zarr")
    assert names(tmp_path) == sorted([*mine, "x.zarr"])
    remove_old_partials(tmp_path / "nowhere" / "x.zarr")
