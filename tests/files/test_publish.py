"""Whatever is published: at its name stands the old one or the new one, wherever writing ends."""

from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr
from safetensors.torch import load_file
from support.system_calls import Failure, die, fail_with_full_disk, fail_with_interrupt, failing, in_child, names

from fitcli.errors import FitError
from fitcli.files.output_checks import check_output_file
from fitcli.files.publish import (
    Publication,
    publish_csv,
    publish_file,
    publish_folder,
    remove_folder,
    undo_on_failure,
    write_text,
)
from fitcli.files.staging import SLOTS, recover
from fitcli.images.base import ImageInfo
from fitcli.images.open import create_image, open_image
from fitcli.images.window import Window
from fitcli.runs.weights import save_weights
from fitcli.tasks.encoding.features_file import ArraySpec, create_embeddings

SIDE = 16
SPECS = {"latents": ArraySpec((2, 1, 3), "float32"), "coordinates": ArraySpec((2, 2), "int64")}


def text(path: Path, value: int) -> None:
    write_text(path, f"{value}\n")


def table(path: Path, value: int) -> None:
    with publish_csv(path) as file:
        file.write(f"{value}\n")


def read_text(path: Path) -> int:
    return int(path.read_text())


def folder(path: Path, value: int) -> None:
    with publish_folder(path) as new:
        (new / "deep").mkdir()
        for name in ("deep/a", "b"):
            (new / name).write_text(str(value))


def read_folder(path: Path) -> int:
    values = {(path / name).read_text() for name in ("deep/a", "b")}
    assert len(values) == 1
    return int(values.pop())


def weights(path: Path, value: int) -> None:
    model = torch.nn.Linear(2, 2, bias=False)
    model.weight.data.fill_(value)
    save_weights(path.parent, model, path.name)


def read_weights(path: Path) -> int:
    (tensor,) = load_file(path).values()
    return int(tensor.unique())


def features(path: Path, value: int) -> None:
    with create_embeddings(path, SPECS, {"image": "a"}) as file:
        for name, spec in SPECS.items():
            file.write(name, slice(0, 2), np.full(spec.shape, value, spec.dtype))


def read_features(path: Path) -> int:
    arrays: Any = (
        {name: tensor.numpy() for name, tensor in load_file(path).items()}
        if path.suffix == ".safetensors"
        else {name: array[...] for name, array in zarr.open_group(path, mode="r").arrays()}
    )
    (value,) = {int(value) for name in SPECS for value in np.unique(arrays[name])}
    return value


def image(path: Path, value: int) -> None:
    info = ImageInfo(height=SIDE, width=SIDE, channels=3, dtype=np.dtype("u1"), color=True)
    with create_image(path, info, chunk=16, threads=1) as canvas:
        canvas.write(Window(0, 0, SIDE, SIDE), np.full((SIDE, SIDE, 3), value, np.uint8))


def read_image(path: Path) -> int:
    with open_image(path) as opened:
        (value,) = np.unique(opened.read(Window(0, 0, SIDE, SIDE)))
        return int(value)


@dataclass(frozen=True)
class Kind:
    """Something that is published: its name, and functions that write and read it with a value."""

    name: str
    write: Callable[[Path, int], None]
    read: Callable[[Path], int]

    def __str__(self) -> str:
        return f"{self.write.__name__} {self.name}"


PLAIN = [Kind("a.txt", text, read_text), Kind("a.csv", table, read_text), Kind("a", folder, read_folder)]
KINDS = [
    *PLAIN,
    Kind("model.safetensors", weights, read_weights),
    Kind("f.safetensors", features, read_features),
    Kind("f.zarr", features, read_features),
    *(Kind(name, image, read_image) for name in ("i.png", "i.tif", "i.ome.tif", "i.zarr")),
]
FOLDERS = [kind for kind in KINDS if kind.read is read_folder or kind.name.endswith("zarr")]
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


@pytest.mark.parametrize("how", FAILURES)
@pytest.mark.parametrize("kind", PLAIN, ids=str)
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


@pytest.mark.parametrize("kind", PLAIN, ids=str)
def test_an_error_without_a_name_names_the_target(tmp_path: Path, kind: Kind) -> None:
    for at, target in moments(kind, tmp_path, Failure(fail_with_full_disk), True, lambda target: None):
        with pytest.raises(OSError) as caught, failing(Failure(fail_with_full_disk, at=at)):  # noqa: PT011
            kind.write(target, 2)
        assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(target))
    with pytest.raises(FileNotFoundError) as missing:
        kind.write(tmp_path / "nowhere" / kind.name, 1)
    assert missing.value.filename == str(tmp_path / "nowhere" / kind.name)


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
    assert at > 15


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
