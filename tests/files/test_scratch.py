"""Scratch files have no name, and keep what is written at any offset."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fitcli.files.scratch import ScratchFile, write_all


def test_what_was_written_is_read(tmp_path: Path) -> None:
    file, buffer = ScratchFile(tmp_path), bytearray(3)
    file.write(memoryview(b"def"), 3)
    file.write(memoryview(b"abc"), 0)
    file.read_into(memoryview(buffer), 2)
    assert bytes(buffer) == b"cde"
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match="shorter than what was written"):
        file.read_into(memoryview(buffer), 4)
    file.close()
    file.close()


def test_writing_goes_on_after_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system may write less than it is asked to."""
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda descriptor, data, offset: real(descriptor, data[:2], offset))
    with (tmp_path / "a").open("wb") as file:
        write_all(file.fileno(), b"abcdefg", 1)
    assert (tmp_path / "a").read_bytes() == b"\0abcdefg"


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ScratchFile(tmp_path / "nowhere")
