"""An edited file of labels has another digest; a copy has the same."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fitcli.data.label_digests import label_digests
from fitcli.errors import DataError
from fitcli.files.content_digest import PIECE_BYTES, PIECES

LARGE = PIECES * PIECE_BYTES * 3


def test_a_copy_is_no_edit(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder / "map.zarr/0").mkdir(parents=True)
        (tmp_path / folder / "map.zarr/zarr.json").write_text("{}")
        (tmp_path / folder / "map.zarr/0/chunk").write_bytes(b"1")
        (tmp_path / folder / "l.png").write_bytes(b"label")
        (tmp_path / folder / "large.tif").write_bytes(bytes(LARGE))
    os.utime(tmp_path / "b/l.png", (1, 1))
    one, other = ({path.name: path for path in (tmp_path / folder).iterdir()} for folder in ("a", "b"))
    assert label_digests(one) == label_digests(other)
    assert len(set(label_digests(one).values())) == 3


@pytest.mark.parametrize(
    ("before", "after"),
    [(b"label", b"lapel"), (b"", b" "), (bytes(LARGE), bytes(LARGE + 1)), (bytes(LARGE), bytes(LARGE - 1) + b"x")],
)
def test_an_edit(tmp_path: Path, before: bytes, after: bytes) -> None:
    digests = []
    for content in (before, after):
        (tmp_path / "l").write_bytes(content)
        digests.append(label_digests({"l": tmp_path / "l"})["l"])
    assert digests[0] != digests[1]


def test_a_chunk_that_is_renamed_is_an_edit(tmp_path: Path) -> None:
    (tmp_path / "m.zarr").mkdir()
    (tmp_path / "m.zarr/0").write_bytes(b"1")
    before = label_digests({"m": tmp_path / "m.zarr"})
    (tmp_path / "m.zarr/0").rename(tmp_path / "m.zarr/1")
    assert label_digests({"m": tmp_path / "m.zarr"}) != before


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.png: cannot be read \(No such file or directory\)"):
        label_digests({"gone.png": tmp_path / "gone.png"})
