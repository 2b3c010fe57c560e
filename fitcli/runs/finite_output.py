"""Stops what a model computes from being reported or written where it is NaN or infinite.

Weights that are finite, but very large, and pixels far from those of the training overflow on the way through a model.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch import Tensor

from fitcli.errors import CheckpointError
from fitcli.files.wording import counted
from fitcli.runs.weights import Checkpoint


class NonFiniteOutput(CheckpointError):
    """A model computed NaN or infinity, for one image at least."""


def check_finite_groups(checkpoint: Checkpoint[Any], values: Tensor, what: str, image: Path | None = None) -> None:
    """Check results of a model for the groups of an image. Waits for the device.

    A model that is being trained is not checked here: training has its own check, which stops the run.

    Args:
        checkpoint: The model.
        values: The results; the first axis counts groups.
        what: The results in words, for the message.
        image: Image that the results are of; None for a generated image.

    Raises:
        NonFiniteOutput: A value is NaN or infinite. The message names the run, the image and the number of groups.
    """
    if checkpoint.folder is None:
        return
    finite = values.isfinite().reshape(len(values), -1).all(dim=1)
    if bad := len(finite) - int(finite.sum()):
        raise non_finite(checkpoint, f"{what} of {bad} of {counted(len(finite), 'group')}", image)


def check_finite_numbers(
    checkpoint: Checkpoint[Any], values: Iterable[float], what: str, image: Path | None = None
) -> None:
    """Check numbers that a model computed, see `check_finite_groups`."""
    if checkpoint.folder is not None and not all(map(math.isfinite, values)):
        raise non_finite(checkpoint, what, image)


def non_finite(checkpoint: Checkpoint[Any], what: str, image: Path | None = None) -> NonFiniteOutput:
    """Return the error for results that are NaN or infinite."""
    place, cause, advice = "", "its weights are", ""
    if image is not None:
        place, cause, advice = f" for {image}", "its weights, or the pixels of the image, are", ", or check the image"
    return NonFiniteOutput(
        f"{checkpoint.folder or 'the model'}: {what} are NaN or infinite{place}; {cause} too large: use an earlier "
        f"checkpoint{advice}"
    )
