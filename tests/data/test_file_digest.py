"""Digests of files: the same file under another name has the same, and another file another one."""

from __future__ import annotations

from pathlib import Path

import pytest

from fitcli.data import file_digest as module
from fitcli.data.dataset import Sample
from fitcli.data.file_digest import file_digest, file_digests
from fitcli.files.content_digest import DIGITS, PIECE_BYTES, PIECES


@pytest.mark.parametrize("size", [0, 10, PIECES * PIECE_BYTES + 1, 3 * PIECES * PIECE_BYTES])
def test_what_changes_a_digest(tmp_path: Path, size: int) -> None:
    content = bytes(number % 251 for number in range(size))
    (tmp_path / "a").write_bytes(content)
    (tmp_path / "b").write_bytes(content)
    first = file_digest(tmp_path / "a")
    assert first == file_digest(tmp_path / "b")
    assert len(first) == DIGITS
    # Of larger files, only parts are read.
    for place in ({0, size // 2, size - 1} if size < PIECES * PIECE_BYTES else {0, size - 1}) if size else ():
        changed = bytearray(content)
        changed[place] ^= 1
        (tmp_path / "b").write_bytes(changed)
        assert file_digest(tmp_path / "b") != first
    (tmp_path / "b").write_bytes(content + b"x")
    assert file_digest(tmp_path / "b") != first


def test_folders_and_missing_files_have_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"a")
    samples = [Sample(tmp_path / "a", 0, key="a"), Sample(tmp_path, 0, key="b"), Sample(tmp_path / "none", 0, key="c")]
    found = file_digests(samples)
    assert found["a"]
    assert (found["b"], found["c"]) == ("", "")
    monkeypatch.setattr(module, "MOST_FILES", 2)
    assert file_digests(samples) == {}
