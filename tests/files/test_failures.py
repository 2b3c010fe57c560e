"""Whatever is published: at its name stands the old one or the new one, wherever writing ends."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import pytest
from support.published import FOLDERS, INTERNAL, KINDS, PLAIN, Kind, folder, read_folder
from support.system_calls import Failure, die, fail_with_full_disk, fail_with_interrupt, failing, in_child, names

from fitcli.errors import FitError
from fitcli.files.output_checks import check_output_file
from fitcli.files.publish import remove_folder
from fitcli.files.staging import recover

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""An interrupt in the middle of a library leaves files open until they are collected."""

FAILURES = {
    "interrupt": (fail_with_interrupt, False),
    "interrupt after": (fail_with_interrupt, True),
    "full disk": (fail_with_full_disk, False),
}


def is_leftover(name: str) -> bool:
    return name.startswith(".fit-")


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(params=[True, False], ids=["exchange", "two renames"])
def exchange(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def moments(
    kind: Kind, place: Path, failure: Failure, exchange: bool, before: Callable[[Path], None]
) -> Iterator[tuple[int, Path]]:
    """Numbers of the calls that writing makes, each with a target in a folder of its own, as `before` prepares it."""
    (place / "0").mkdir()
    before(place / "0" / kind.name)
    shutil.copytree(place / "0", place / "count", symlinks=True)
    with failing(failure, exchange):
        kind.write(place / "count" / kind.name, 2)
    for at in range(1, failure.calls + 1):
        shutil.copytree(place / "0", place / str(at), symlinks=True)
        yield at, place / str(at) / kind.name


def fail_at(kind: Kind, target: Path, failure: Failure, exchange: bool) -> str:
    """Write the value 2, which fails.

    Returns:
        The message. Some failures do not matter: no space for a folder that exists; an interrupt after a call that
        itself failed. Then nothing, and the new one stands there.
    """
    try:
        with failing(failure, exchange):
            kind.write(target, 2)
    except (KeyboardInterrupt, FitError, OSError) as error:
        return str(error) or "interrupted"
    assert kind.read(target) == 2
    return ""


def check_afterwards(kind: Kind, target: Path, others: set[str]) -> None:
    """The next time goes well, and leaves nothing of the time before."""
    if kind in PLAIN:
        kind.write(target, 3)
        assert kind.read(target) == 3
    else:
        # What every writer begins with.
        recover(target)
    assert set(names(target.parent)) - {target.name} == others


REPLACED = [
    *product(PLAIN, FAILURES, [True]),
    *product(KINDS[len(PLAIN) :], ["interrupt after", "full disk"], [True]),
    *product(FOLDERS, ["interrupt after", "full disk"], [False]),
]
"""What is written, how that fails, and whether names can be exchanged, which matters for folders alone."""


@pytest.mark.walk(10)
@pytest.mark.parametrize(("kind", "how", "exchange"), REPLACED, ids=str)
def test_the_old_one_or_the_new_one_stands_there(tmp_path: Path, kind: Kind, how: str, exchange: bool) -> None:
    fail, after = FAILURES[how]
    for at, target in moments(kind, tmp_path, Failure(fail, after), exchange, lambda target: kind.write(target, 1)):
        message = fail_at(kind, target, Failure(fail, after, at), exchange)
        assert kind.read(target) in (1, 2), at
        if fail is fail_with_full_disk:
            assert names(target.parent) == [target.name], at
            assert kind.name in message or not message, "the message names the file"
        assert all(name == target.name or is_leftover(name) for name in names(target.parent))
        check_afterwards(kind, target, set())


@pytest.mark.walk(6)
@pytest.mark.parametrize(
    ("kind", "how"), [*product(PLAIN, FAILURES), *product(KINDS[len(PLAIN) :], ["full disk"])], ids=str
)
def test_nothing_or_the_new_one_stands_there(tmp_path: Path, kind: Kind, how: str) -> None:
    fail, after = FAILURES[how]
    for at, target in moments(kind, tmp_path, Failure(fail, after), True, lambda target: None):
        message = fail_at(kind, target, Failure(fail, after, at), exchange=True)
        if target.exists():
            assert kind.read(target) == 2, at
        elif fail is fail_with_full_disk:
            assert names(target.parent) == [], at
            assert kind.name in message, "the message names the file"
        assert all(name == target.name or is_leftover(name) for name in names(target.parent))
        check_afterwards(kind, target, set())


KILLS = [
    *((kind, after, True) for kind in PLAIN for after in (True, False)),
    *((kind, True, False) for kind in FOLDERS),
    (KINDS[-3], True, True),
]
"""What is written, whether the call is done before the kill, and whether names can be exchanged."""


@pytest.mark.walk(2)
@pytest.mark.parametrize(("kind", "after", "exchange"), KILLS, ids=str)
def test_kills(tmp_path: Path, kind: Kind, after: bool, exchange: bool) -> None:
    """What is missing after a kill is put back by whoever looks whether it can be written."""
    missing = 0
    for at, target in moments(kind, tmp_path, Failure(die, after), exchange, lambda target: kind.write(target, 1)):

        def write(target: Path = target, at: int = at) -> None:
            with failing(Failure(die, after, at), exchange):
                kind.write(target, 2)

        assert in_child(write) == 9 or kind.read(target) == 2
        missing += not target.exists()
        check_output_file("--out", target)
        assert kind.read(target) in (1, 2), at
        check_afterwards(kind, target, set())
    assert missing == (not exchange), "the moment between two renames was among them"


@pytest.mark.walk(4)
@pytest.mark.parametrize("how", FAILURES)
@pytest.mark.parametrize("kind", INTERNAL, ids=str)
def test_a_link_is_replaced_and_what_it_points_to_stays(tmp_path: Path, kind: Kind, how: str, exchange: bool) -> None:
    def link(target: Path) -> None:
        kind.write(target.with_name("other"), 1)
        target.symlink_to("other")

    fail, after = FAILURES[how]
    for at, target in moments(kind, tmp_path, Failure(fail, after), exchange, link):
        fail_at(kind, target, Failure(fail, after, at), exchange)
        assert kind.read(target) == (1 if target.is_symlink() else 2), at
        assert kind.read(target.with_name("other")) == 1
        check_afterwards(kind, target, {"other"})
        assert kind.read(target.with_name("other")) == 1


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.follows], ids=str)
def test_an_output_goes_to_the_end_of_a_link(tmp_path: Path, kind: Kind) -> None:
    """The link stays, also where nothing stands at its end yet."""
    (tmp_path / "store").mkdir()
    link, end = tmp_path / kind.name, tmp_path / "store" / f"other{Path(kind.name).suffix}"
    link.symlink_to(Path("store", end.name))
    for value in (1, 2):
        kind.write(link, value)
        assert link.is_symlink()
        assert not end.is_symlink()
        assert kind.read(end) == kind.read(link) == value
        assert (names(tmp_path), names(end.parent)) == ([kind.name, "store"], [end.name])


@pytest.mark.parametrize("kind", PLAIN, ids=str)
def test_an_error_without_a_name_names_the_target(tmp_path: Path, kind: Kind) -> None:
    for at, target in moments(kind, tmp_path, Failure(fail_with_full_disk), True, lambda target: None):
        with pytest.raises(OSError) as caught, failing(Failure(fail_with_full_disk, at=at)):  # noqa: PT011
            kind.write(target, 2)
        assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(target))
    with pytest.raises(FileNotFoundError) as missing:
        kind.write(tmp_path / "nowhere" / kind.name, 1)
    assert missing.value.filename == str(tmp_path / "nowhere" / kind.name)


def test_a_folder_is_removed_whole_or_not_at_all(tmp_path: Path) -> None:
    for fail, after in FAILURES.values():
        for at in range(1, 20):
            target = tmp_path / f"{fail.__name__} {after} {at}" / "a"
            target.parent.mkdir()
            folder(target, 1)
            failure = Failure(fail, after, at)
            try:
                with failing(failure):
                    remove_folder(target)
            except (OSError, KeyboardInterrupt):
                pass
            if target.exists():
                assert read_folder(target) == 1
            remove_folder(target)
            assert not target.exists()
            if failure.calls < at:
                break
            folder(target, 1)
            remove_folder(target)
            assert names(target.parent) == []
        else:
            raise AssertionError("it goes on and on")
