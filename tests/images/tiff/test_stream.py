"""The stream that tifffile parses gives the bytes of the file, up to a limit."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest

from fitcli.images.byte_source import SourceFile
from fitcli.images.tiff import stream
from fitcli.images.tiff.stream import StructureStream, TooMuchStructure

DATA = np.random.default_rng(0).bytes(5000)


@pytest.fixture
def structure(tmp_path: Path) -> StructureStream:
    (tmp_path / "file").write_bytes(DATA)
    return StructureStream(SourceFile(tmp_path / "file"))


def test_it_reads_and_seeks_like_a_file(structure: StructureStream) -> None:
    expected, rng = io.BytesIO(DATA), np.random.default_rng(1)
    assert structure.readable()
    assert structure.seekable()
    for _ in range(300):
        offset, count = int(rng.integers(0, 6000)), int(rng.integers(-1, 700))
        whence = (os.SEEK_SET, os.SEEK_CUR, os.SEEK_END)[rng.integers(3)]
        offset = -min(offset, 5000) if whence == os.SEEK_END else offset % 40 if whence == os.SEEK_CUR else offset
        assert structure.seek(offset, whence) == expected.seek(offset, whence)
        if count % 2:
            assert structure.read(count) == expected.read(count)
        else:
            buffers = bytearray(count), bytearray(count)
            assert structure.readinto(memoryview(buffers[0])) == expected.readinto(buffers[1])
            assert buffers[0] == buffers[1]
        assert structure.tell() == expected.tell()


def test_positions_before_the_file_are_refused(structure: StructureStream) -> None:
    with pytest.raises(ValueError, match="position -1 lies before"):
        structure.seek(-1)


def test_it_has_no_name_and_no_descriptor(structure: StructureStream) -> None:
    assert not hasattr(structure, "name")
    with pytest.raises(io.UnsupportedOperation):
        structure.fileno()


@pytest.mark.parametrize(("limit", "reads"), [("MAX_READS", 10), ("MAX_BYTES", 20)])
def test_reading_ends_at_the_limit(
    structure: StructureStream, monkeypatch: pytest.MonkeyPatch, limit: str, reads: int
) -> None:
    monkeypatch.setattr(stream, limit, {"MAX_READS": 10, "MAX_BYTES": 1000}[limit])
    for _ in range(reads):
        structure.read(50)
    with pytest.raises(TooMuchStructure):
        structure.read(50)
    assert not issubclass(TooMuchStructure, Exception), "tifffile would go on after an Exception"
