"""Compares two run folders: the same run has the same weights, states and logged values, to the bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CLOCK = {"images_per_second", "patches_per_second", "data_wait", "peak_bytes"}
"""Logged values that depend on the machine and its load; all others are compared."""


def metrics(folder: Path) -> list[dict[str, Any]]:
    """Read the log of a run, without the values that depend on the clock."""
    entries = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in entry.items() if name not in CLOCK} for entry in entries]


def logged(folder: Path) -> list[tuple[str, int]]:
    """Return kind and step of every entry in the log of a run."""
    return [(entry["kind"], entry["step"]) for entry in metrics(folder)]


def contents(folder: Path) -> dict[str, Any]:
    """Read all files of a run folder but TensorBoard events, by name, as bytes; and the log."""
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.parent.name != "tensorboard"
    }
    # Pages hold the time of day.
    left_out = ("metrics.jsonl", "training/lock", "report.html", "curves.png")
    return {name: data for name, data in files.items() if name not in left_out} | {"metrics": metrics(folder)}


def assert_same_run(one: Path, other: Path) -> None:
    """Assert that weights, their average, the state of the optimizer, the settings and the log are the same."""
    mine, theirs = _without_old_states(contents(one)), _without_old_states(contents(other))
    assert any(name.endswith("/optimizer.safetensors") for name in mine)
    assert mine.keys() == theirs.keys()
    assert not [name for name in mine if mine[name] != theirs[name]]


def _without_old_states(files: dict[str, Any]) -> dict[str, Any]:
    """Remove all saved states but the last: which older ones exist depends on when the run was stopped."""
    newest = max(Path(name).parent for name in files if name.startswith("training/states/"))
    return {name: data for name, data in files.items() if "/states/" not in name or Path(name).parent == newest}
