"""Results name the command that measured them without the folders of one machine."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks.support.machine import command_line, save_results


def test_absolute_paths_lose_their_first_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["-m", "benchmarks.speed.images", "--out", "benchmarks/results/images.json", "--data=/home/someone/mnist"]
    monkeypatch.setattr(sys, "orig_argv", ["/usr/bin/python3", *words, "--more", "--start-from /a/b/run"])
    rest = "--out benchmarks/results/images.json --data=someone/mnist --more '--start-from b/run'"
    assert command_line() == f"python -m benchmarks.speed.images {rest}"


def test_versions_are_those_of_installed_packages(tmp_path: Path) -> None:
    save_results(tmp_path / "out.json", ["numpy", "no-such-package"], {"seconds": 1}, threads=2)
    document = json.loads((tmp_path / "out.json").read_text())
    assert document["seconds"] == 1
    assert document["machine"]["threads"] == 2
    assert list(document["machine"]["versions"]) == ["numpy"]
