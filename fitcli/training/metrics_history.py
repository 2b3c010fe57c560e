"""Reads `metrics.jsonl` of a run as columns of numbers, each line once."""

from __future__ import annotations

import json
from array import array
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class MetricsHistory:
    """The numbers of a run so far, from all processes that trained it one after the other.

    Args:
        run: Run folder.

    Attributes:
        bad_images: Path and reason of each image that was left out.
    """

    def __init__(self, run: Path) -> None:
        self._path, self._offset = run / "metrics.jsonl", 0
        # Arrays of step, value, step, value ...: 16 bytes per number.
        self._steps: dict[str, array[float]] = {}
        self._validations: dict[str, array[float]] = {}
        self.bad_images: dict[str, str] = {}

    @property
    def step_names(self) -> list[str]:
        """Names of the numbers of optimizer steps."""
        return list(self._steps)

    @property
    def validation_names(self) -> list[str]:
        """Names of the numbers of validations."""
        return list(self._validations)

    def steps(self, name: str) -> Floats:
        """Return (step, value) of a number of the optimizer steps, [n 2]; empty if there is none of this name."""
        return np.array(self._steps.get(name, ()), np.float64).reshape(-1, 2)

    def validations(self, name: str) -> Floats:
        """Return (step, value) of a number of the validations, [n 2]; empty if there is none of this name."""
        return np.array(self._validations.get(name, ()), np.float64).reshape(-1, 2)

    def update(self) -> None:
        """Read the lines that were added since the last call. An incomplete line is left for the next one.

        Raises:
            OSError: The file cannot be read.
        """
        with self._path.open("rb") as file:
            file.seek(self._offset)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict):
                self._add(entry)

    def _add(self, entry: dict[str, Any]) -> None:
        kind, step = entry.get("kind"), entry.get("step")
        if kind == "bad image":
            self.bad_images[str(entry.get("path"))] = str(entry.get("reason"))
        columns = {"train": self._steps, "validation": self._validations}.get(str(kind))
        if columns is None or not isinstance(step, int):
            return
        for name, value in entry.items():
            # `True` is an int, and says whether a validation was the best.
            if name not in ("kind", "step") and isinstance(value, int | float) and not isinstance(value, bool):
                columns.setdefault(name, array("d")).extend((step, float(value)))
