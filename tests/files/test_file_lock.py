"""A lock belongs to one process at a time, and its file is never something else."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.system_calls import in_child, names

from fitcli.errors import FitError
from fitcli.files.file_lock import NO_LOCKS, FileLock, LockedError

HOLD = """
import sys
from pathlib import Path
from fitcli.files.file_lock import FileLock
lock = FileLock(Path(sys.argv[1]))
lock.sign()
print("held", flush=True)
sys.stdin.read()
"""
ROOT = Path(__file__).parent.parent.parent


def test_one_process_at_a_time(tmp_path: Path) -> None:
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "lock")], stdin=pipe, stdout=pipe, cwd=ROOT)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(LockedError, match=rf"^process {process.pid} on "):
            FileLock(tmp_path / "lock")
    finally:
        process.kill()
        process.communicate()
    lock = FileLock(tmp_path / "lock")
    assert lock.enforced
    lock.close()
    lock.close()


def test_one_thread_at_a_time(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    with pytest.raises(LockedError, match=r"^another process$"):
        FileLock(tmp_path / "lock")
    lock.close()
    FileLock(tmp_path / "lock").close()


def test_a_file_that_was_replaced_meanwhile_is_not_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process removed the file between opening and locking it."""
    path, flock, tries = tmp_path / "lock", fcntl.flock, []

    def late(descriptor: int, how: int) -> None:
        tries.append(descriptor)
        if len(tries) < 3:
            path.unlink()
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", late)
    lock = FileLock(path)
    assert len(tries) == 3
    with pytest.raises(LockedError):
        FileLock(path)
    lock.close()


@pytest.mark.parametrize("code", NO_LOCKS)
def test_without_locks_nobody_is_kept_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def flock(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", flock)
    locks = [FileLock(tmp_path / "lock") for _ in range(2)]
    for lock in locks:
        assert not lock.enforced
        lock.sign()
        lock.close()


def test_another_error_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", flock)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="Input/output"):
        FileLock(tmp_path / "lock")
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("kind", ["link", "dangling link", "folder", "pipe", "socket"])
def test_something_else_is_neither_opened_nor_changed(tmp_path: Path, kind: str) -> None:
    path, other = tmp_path / "lock", tmp_path / "other"
    if kind == "link":
        other.write_text("thesis")
    if "link" in kind:
        path.symlink_to(other)
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        os.mknod(path, 0o140600)
    with pytest.raises(FitError, match=r"lock: is a link or a folder, not a lock file of fit; remove it"):
        FileLock(path)
    assert names(tmp_path) == (["lock", "other"] if kind == "link" else ["lock"])
    assert kind != "link" or other.read_text() == "thesis"


def test_a_file_of_the_user_is_not_overwritten(tmp_path: Path) -> None:
    """Also where it has a second name: `ln` instead of `ln -s`."""
    (tmp_path / "thesis").write_text("dear reader")
    (tmp_path / "lock").hardlink_to(tmp_path / "thesis")
    lock = FileLock(tmp_path / "lock")
    with pytest.raises(FitError, match="lock: is not a lock file of fit; move it away"):
        lock.sign()
    lock.close()
    assert (tmp_path / "thesis").read_text() == "dear reader"


def test_the_holder_is_written_anew(tmp_path: Path) -> None:
    for _ in range(2):
        assert in_child(lambda: FileLock(tmp_path / "lock").sign()) == 0
        (line,) = (tmp_path / "lock").read_text().splitlines()
        assert line.startswith("process ")
        assert f" {os.getpid()} " not in line


def test_a_full_disk_does_not_keep_from_locking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pwrite(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", pwrite)
    lock = FileLock(tmp_path / "lock")
    lock.sign()
    lock.close()
