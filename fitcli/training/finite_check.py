"""Stops a run on a NaN or infinite loss or gradient, before a checkpoint is overwritten."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from fitcli.errors import FitError
from fitcli.runs.config import is_run

NAMED = 4
"""Number of images that an error names."""


def check_finite(name: str, value: float, folder: Path, step: int, paths: Sequence[Path] = (), images: int = 0) -> None:
    """Raise FitError if a value is NaN or infinite.

    Args:
        name: Noun for the value.
        value: A loss, or the norm of a gradient.
        folder: Run folder.
        step: Number of the step, counted from 1.
        paths: Files of the first images that the value was computed from.
        images: Number of these images.
    """
    if not math.isfinite(value):
        more = f" and {images - NAMED} more" if images > NAMED else ""
        files = f", on {', '.join(map(str, paths[:NAMED]))}{more}" if paths else ""
        kept = f" (what {folder} saved before is still there)" if is_run(folder) else ""
        raise FitError(
            f"the {name} became {value} in step {step}{files}; start again with a lower --learning-rate{kept}"
        )
