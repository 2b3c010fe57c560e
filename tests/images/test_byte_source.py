"""Reading bytes by position gives the same from any thread and after a fork; errors are clear."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from fitcli.errors import ImageError
from fitcli.images.byte_source import SourceFile

DATA = np.random.default_rng(0).bytes(100_000)
PLACES = [(int(start), 500) for start in np.random.default_rng(1).integers(0, 99_000, 200)]


@pytest.fixture
def source(tmp_path: Path) -> SourceFile:
    (tmp_path / "file").write_bytes(DATA)
    return SourceFile(tmp_path / "file")


def test_threads_read_the_bytes_of_the_file(source: SourceFile) -> None:
    assert source.size == len(DATA)
    with ThreadPoolExecutor(8) as pool:
        for (start, count), data in zip(PLACES, pool.map(lambda place: source.read(*place), PLACES), strict=True):
            assert data == DATA[start : start + count]
    buffer = bytearray(700)
    source.read_into(memoryview(buffer), 99_300)
    assert bytes(buffer) == DATA[99_300:]
    assert source.read(len(DATA), 0) == b""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forks_share_no_position(source: SourceFile) -> None:
    source.read(0, 10)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = int(any(source.read(start, count) != DATA[start : start + count] for start, count in PLACES))
        finally:
            os._exit(status)
    assert all(source.read(start, count) == DATA[start : start + count] for start, count in reversed(PLACES))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_short_reads_are_continued(source: SourceFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system call returns at most 2 GiB; here, at most 7 bytes."""
    pread, preadv = os.pread, os.preadv
    monkeypatch.setattr(os, "pread", lambda number, count, offset: pread(number, min(count, 7), offset))
    monkeypatch.setattr(os, "preadv", lambda number, buffers, offset: preadv(number, [buffers[0][:7]], offset))
    assert source.read(11, 500) == DATA[11:511]
    buffer = bytearray(500)
    source.read_into(memoryview(buffer), 11)
    assert bytes(buffer) == DATA[11:511]


def test_end_of_the_file(source: SourceFile) -> None:
    with pytest.raises(ImageError, match="ends 10 bytes early"):
        source.read(99_990, 20)
    with pytest.raises(ImageError, match="ends 10 bytes early"):
        source.read_into(memoryview(bytearray(20)), 99_990)


def test_closed_and_missing_files(source: SourceFile) -> None:
    source.close()
    source.close()
    with pytest.raises(ImageError, match="closed"):
        source.read(0, 1)
    other = SourceFile(source.path)
    source.path.unlink()
    with pytest.raises(ImageError, match="cannot be opened"):
        other.read(0, 1)
    with pytest.raises(FileNotFoundError):
        SourceFile(source.path)


def test_files_are_closed_with_the_last_reference(source: SourceFile) -> None:
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else pytest.skip("needs /proc")
    source.read(0, 1)
    assert len(os.listdir("/proc/self/fd")) == before + 1
    source.close()
    assert len(os.listdir("/proc/self/fd")) == before
