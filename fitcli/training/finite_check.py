"""Ends a run whose numbers are none any more, before anything good is overwritten."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from fitcli.errors import FitError

NAMED = 4
"""Images that an error names: with small batches all that it can be about."""


def check_finite(name: str, value: float, folder: Path, step: int, paths: Sequence[Path] = ()) -> None:
    """Nothing, where a value is finite.

    Args:
        name: Of the value.
        value: A loss, or the norm of a gradient.
        folder: Of the run.
        step: Counted from 1.
        paths: Of the images that it follows from.

    Raises:
        FitError: It is not.
    """
    if not math.isfinite(value):
        more = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
        files = f", on {', '.join(map(str, paths[:NAMED]))}{more}" if paths else ""
        raise FitError(
            f"the {name} became {value} in step {step}{files}; start again with a lower --learning-rate "
            f"(what {folder} saved before is still there)"
        )
