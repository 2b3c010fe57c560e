"""Turns the probabilities of a classifier into labels, target by target."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fitcli.data.class_names import number_of_name
from fitcli.errors import FitError
from fitcli.runs.targets import Target


def find_target(targets: Sequence[Target], name: str | None) -> int:
    """Return the number of the target with a name, for heat maps; 0 for None.

    Raises:
        FitError: No target has this name.
    """
    names = [target.name for target in targets]
    if name is None:
        return 0
    if (number := number_of_name(name, names)) is None:
        raise FitError(f"--heatmap-target {name}: the run knows {', '.join(names)}; give one of these, or leave it out")
    return number


def top_classes(classes: Sequence[str], probabilities: NDArray[np.float64], top_k: int) -> list[tuple[str, float]]:
    """Return the `top_k` most probable classes with their probabilities, the most probable first."""
    order = (-probabilities).argsort(kind="stable")[:top_k]
    return [(classes[number], float(probabilities[number])) for number in order]
