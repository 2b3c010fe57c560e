"""A derived name is never too long for the file system that its origin stands in."""

from __future__ import annotations

from pathlib import Path

from fitcli.files.names import short_enough
from fitcli.files.staging import STAGING


def test_a_name_that_is_too_long_is_replaced(tmp_path: Path) -> None:
    assert short_enough("x" * 255) == "x" * 255
    assert short_enough("é" * 127 + "x") == "é" * 127 + "x"
    names = {short_enough(name) for name in ("x" * 256, "é" * 128, "x" * 257, "é" * 127 + "\udcff\udcff")}
    assert len(names) == 4
    for name in names:
        (tmp_path / name).touch()
        assert STAGING.fullmatch(name) is None
