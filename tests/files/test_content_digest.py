"""Digests of what files hold: copies have the same, also of zarr folders; an edit of a small file has another."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fitcli.files.content_digest import DIGITS, PIECE_BYTES, PIECES, content_digest


@pytest.mark.parametrize("size", [0, 1, PIECES * PIECE_BYTES, PIECES * PIECE_BYTES + 1, 4 * PIECES * PIECE_BYTES])
def test_first_middle_and_last_bytes_count(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(size))
    before = content_digest(path)
    assert len(before) == DIGITS
    for place in {0, size - 1} if size else ():
        content = bytearray(size)
        content[place] = 1
        path.write_bytes(content)
        assert content_digest(path) != before
    path.write_bytes(bytes(size + 1))
    assert content_digest(path) != before


def test_folders(tmp_path: Path) -> None:
    (tmp_path / "a/0").mkdir(parents=True)
    (tmp_path / "a/0/c").write_bytes(b"chunk")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert content_digest(tmp_path / "a") == content_digest(tmp_path / "b")
    (tmp_path / "b/0/c").rename(tmp_path / "b/0/d")
    assert content_digest(tmp_path / "a") != content_digest(tmp_path / "b")


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="gone"):
        content_digest(tmp_path / "gone")
