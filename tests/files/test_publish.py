"""What is published replaces what may be replaced, is synced, and keeps apart from what others write."""

from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.published import FOLDERS, KINDS, Kind, folder
from support.system_calls import Failure, die, failing, in_child, names

from fitcli.errors import FitError
from fitcli.files.output_checks import check_output_file
from fitcli.files.publish import (
    Publication,
    publish_file,
    published_together,
    remove_folder,
    undo_on_failure,
    write_text,
)
from fitcli.files.staging import SLOTS, recover


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(params=[True, False], ids=["exchange", "two renames"])
def exchange(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in FOLDERS], ids=str)
def test_a_file_does_not_replace_a_folder(tmp_path: Path, kind: Kind) -> None:
    (tmp_path / kind.name).mkdir()
    (tmp_path / kind.name / "thesis").touch()
    with pytest.raises((FitError, OSError), match=kind.name):
        kind.write(tmp_path / kind.name, 2)
    assert [path.name for path in tmp_path.rglob("*")] == [kind.name, "thesis"]


@pytest.mark.parametrize("letter", ["x", "é", "日"], ids=["1 byte", "2 bytes", "3 bytes"])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_longest_names(tmp_path: Path, kind: Kind, letter: str) -> None:
    for size in (240, 255):
        room = size - len(kind.name.encode())
        name = letter * (room // len(letter.encode())) + "x" * (room % len(letter.encode())) + kind.name
        assert len(os.fsencode(name)) == size
        for value in (1, 2):
            kind.write(tmp_path / name, value)
            assert kind.read(tmp_path / name) == value
            check_output_file("--out", tmp_path / name)
    assert len(names(tmp_path)) == 2


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_all_of_it_is_on_the_disk_before_it_stands_there(tmp_path: Path, kind: Kind, exchange: bool) -> None:
    """Every file and folder is synced before it is moved, and the folder that it stands in afterwards."""
    target, synced, moved = tmp_path / kind.name, set[int](), list[set[int]]()
    kind.write(target, 1)

    def seen(name: str, arguments: tuple[Any, ...]) -> None:
        if name == "fsync":
            synced.add(os.fstat(arguments[0]).st_ino)
        calls = ("replace", "rename", *(["exchange"] if exchange else []))
        if name in calls and str(arguments[1]) == str(target):
            new = Path(arguments[0])
            assert {path.stat().st_ino for path in (new, *new.rglob("*"))} <= synced
            moved.append(set(synced))
            synced.clear()

    with failing(Failure(die, seen=seen), exchange):
        kind.write(target, 2)
    assert len(moved) == 1
    assert tmp_path.stat().st_ino in synced


def test_an_error_of_another_file_stays_as_it_is(tmp_path: Path) -> None:
    for raised in (OSError("no number"), FileNotFoundError(errno.ENOENT, "gone", "other"), FitError("ours")):
        with pytest.raises(type(raised)) as caught, publish_file(tmp_path / "a"):
            raise raised
        assert caught.value is raised
    assert names(tmp_path) == []


def test_many_write_one_target_at_the_same_time(tmp_path: Path) -> None:
    """Nobody takes what another one is writing for a leftover."""
    target = tmp_path / "a"
    some = [Publication(target) for _ in range(SLOTS)]
    for number, each in enumerate(some):
        each.path.write_text(str(number))
    with pytest.raises(OSError, match=f"{SLOTS} unfinished copies") as caught:
        Publication(target)
    assert caught.value.filename == str(target)
    for number, each in enumerate(some):
        each.publish()
        assert target.read_text() == str(number)
    assert names(tmp_path) == ["a"]


def _write_often(target: Path, value: int) -> None:
    for _ in range(30):
        write_text(target, str(value) * 1000)


def test_processes_that_write_one_target(tmp_path: Path) -> None:
    target, context = tmp_path / "a", multiprocessing.get_context("fork")
    write_text(target, "0")
    writers = [context.Process(target=_write_often, args=(target, value)) for value in range(4)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert len(set(target.read_text())) == 1
    assert [writer.exitcode for writer in writers] == [0] * 4
    assert names(tmp_path) == ["a"]


def test_work_with_a_token_is_continued_after_an_error_or_a_kill(tmp_path: Path) -> None:
    target = tmp_path / "a"
    with pytest.raises(KeyboardInterrupt), Publication(target, folder=True, token="0000000a") as first:  # noqa: PT012
        (first.path / "one").touch()
        raise KeyboardInterrupt

    def killed() -> None:
        with Publication(target, folder=True, token="0000000a", continues=True) as second:
            assert names(second.path) == ["one"]
            (second.path / "two").touch()
            die()

    assert in_child(killed) == 9
    recover(target)
    write_text(tmp_path / "b", "others are left alone")
    with (
        Publication(target, folder=True, token="0000000a", continues=True) as third,
        pytest.raises(FitError, match="another process is writing there; wait for it"),
    ):
        Publication(target, folder=True, token="0000000a", continues=True)
    assert names(target) == ["one", "two"]
    with Publication(target, folder=True, token="0000000a") as fourth:
        assert names(fourth.path) == []
    assert names(target) == []
    assert names(tmp_path) == ["a", "b"]
    assert third.path != fourth.path.parent


@pytest.mark.walk(1)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_what_was_replaced_is_never_continued(tmp_path: Path, after: bool, exchange: bool) -> None:
    """Wherever a process is killed, what it leaves under a token is its own work."""

    def write(value: int, continues: bool = False) -> None:
        with Publication(target, folder=True, token="0000000a", continues=continues) as publication:
            before = names(publication.path)
            assert before in ([], ["2"]), before
            (publication.path / str(value)).touch()

    at = 0
    while True:
        at += 1
        place = tmp_path / str(at)
        place.mkdir()
        target = place / "a"
        write(1)

        def killed(at: int = at) -> None:
            with failing(Failure(die, after, at), exchange):
                write(2)

        status = in_child(killed)
        recover(target)
        assert names(target) in (["1"], ["2"]), at
        write(2, continues=True)
        assert names(target) == ["2"]
        if status == 0:
            break
        assert status == 9
    assert at > 10


def test_a_folder_is_removed_on_a_full_disk(tmp_path: Path) -> None:
    """Nothing is made for that."""
    folder(tmp_path / "a", 1)
    made: list[str] = []
    with failing(Failure(die, seen=lambda name, arguments: made.append(name))):
        remove_folder(tmp_path / "a")
    assert names(tmp_path) == []
    assert not {"open", "mkdir", "write"} & set(made)


def test_a_folder_that_cannot_be_filled_is_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "mine").mkdir()
    for place in (tmp_path / "empty", tmp_path / "new" / "deep"):
        with pytest.raises(KeyboardInterrupt), undo_on_failure(place):  # noqa: PT012
            (place / "folder").mkdir(parents=True)
            (place / "file").touch()
            (place / "link").symlink_to(tmp_path / "mine")
            raise KeyboardInterrupt
    assert names(tmp_path) == ["empty", "mine"]
    assert names(tmp_path / "empty") == []


def test_a_small_disk(tmp_path: Path, small_disk: Path) -> None:
    """Real writes fail half way: nothing is left, and the old one stands there."""
    for kind in KINDS:
        target = small_disk / kind.name
        kind.write(target, 1)
        free = shutil.disk_usage(small_disk).free
        (small_disk / "ballast").write_bytes(bytes(free))
        before = names(small_disk)
        with pytest.raises((FitError, OSError)):
            kind.write(target, 2)
        assert kind.read(target) == 1
        assert names(small_disk) == before
        (small_disk / "ballast").unlink()
        kind.write(target, 2)
        assert kind.read(target) == 2


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_what_belongs_together_appears_together(tmp_path: Path, kind: Kind) -> None:
    target, other = tmp_path / kind.name, tmp_path / "other"
    kind.write(target, 1)
    with pytest.raises(ZeroDivisionError), published_together([target, tmp_path / "never written"]):  # noqa: PT012
        kind.write(target, 2)
        write_text(other, "is published at once")
        assert (kind.read(target), other.exists()) == (1, True)
        raise ZeroDivisionError
    assert kind.read(target) == 1
    assert names(tmp_path) == sorted([kind.name, "other"])
    with published_together([target, tmp_path / "link", tmp_path / "second"]):
        kind.write(target, 3)
        write_text(tmp_path / "second", "a")
        assert (kind.read(target), (tmp_path / "second").exists()) == (1, False)
    assert kind.read(target) == 3
    assert names(tmp_path) == sorted([kind.name, "other", "second"])
    kind.write(target, 4)
    assert kind.read(target) == 4


def test_of_what_belongs_together_one_cannot_be_put_in_place(tmp_path: Path) -> None:
    """What was in place by then stays; nothing else is left behind."""
    with pytest.raises(OSError, match="b") as caught, published_together([tmp_path / name for name in "abc"]):  # noqa: PT012
        for name in "abc":
            write_text(tmp_path / name, name)
        (tmp_path / "b").mkdir()
    assert caught.value.filename == str(tmp_path / "b")
    assert names(tmp_path) == ["a", "b"]
