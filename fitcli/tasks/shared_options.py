"""Options of `fit train` that several tasks have in common, each written once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fitcli.errors import FitError
from fitcli.runs.option import option

BACKGROUND_THRESHOLD = 0.02
"""Default of `--background-threshold`, a share of the range of the pixels."""

SKIP_BACKGROUND = option(
    False,
    "Leave out constant groups.",
    more="A classifier then also leaves them out in `fit classify` and `fit embed`, which can override it.",
)
THRESHOLD = option(
    BACKGROUND_THRESHOLD,
    "Pixel range of background.",
    minimum=0,
    maximum=1,
    metavar="SHARE",
    more="A group whose pixels vary by less than this share of the range of the pixel type is background.",
)
LABEL_SMOOTHING = option(
    0.0,
    "Share to spread evenly.",
    minimum=0,
    below=1,
    more="It is a share of the label's probability, spread evenly over all classes or all levels.",
)
UNCONDITIONAL = option(False, "Ignore the classes.", more="The model then learns what all images have in common.")


def background_share(skip: bool, threshold: float) -> float | None:
    """Return the share of the pixel range below which groups are left out; None to keep all groups.

    Raises:
        FitError: A threshold without `--skip-background`.
    """
    if not skip and threshold != BACKGROUND_THRESHOLD:
        raise FitError("--background-threshold is for --skip-background; give both, or leave it out")
    return threshold if skip else None


def with_background_switch(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Replace the setting `background`, a share or None, by the two options that it came from."""
    values = dict(stored)
    if "background" in values and (share := values.pop("background")) is not None:
        values |= {"skip_background": True, "background_threshold": share}
    return values
