"""What two run folders have to have in common to be the same run, to the bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CLOCK = {"images_per_second", "patches_per_second", "data_wait", "peak_bytes"}
"""What is logged that depends on the machine and its load; everything else is compared."""


def metrics(folder: Path) -> list[dict[str, Any]]:
    """What a run has logged, without what the clock has a part in."""
    entries = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in entry.items() if name not in CLOCK} for entry in entries]


def contents(folder: Path) -> dict[str, Any]:
    """Everything in a run folder but events for TensorBoard, by name: files as bytes, and what was logged."""
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.parent.name != "tensorboard"
    }
    left_out = ("metrics.jsonl", "training/lock")
    return {name: data for name, data in files.items() if name not in left_out} | {"metrics": metrics(folder)}


def assert_same_run(one: Path, other: Path) -> None:
    """Weights, their average, the state of the optimizer, settings, and all that was logged are the same."""
    mine, theirs = _without_old_states(contents(one)), _without_old_states(contents(other))
    assert any(name.endswith("/optimizer.safetensors") for name in mine)
    assert mine.keys() == theirs.keys()
    assert not [name for name in mine if mine[name] != theirs[name]]


def _without_old_states(found: dict[str, Any]) -> dict[str, Any]:
    """States before the last one are there for a rainy day: which ones follows from when the run was stopped."""
    newest = max(Path(name).parent for name in found if name.startswith("training/states/"))
    return {name: data for name, data in found.items() if "/states/" not in name or Path(name).parent == newest}
