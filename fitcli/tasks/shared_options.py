"""Options of `fit train` that several tasks have in common, each written once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fitcli.errors import FitError
from fitcli.runs.option import option
from fitcli.runs.task_options import TaskOptions

BACKGROUND_THRESHOLD = 0.02
"""Default of `--background-threshold`, a share of the range of the pixels."""

LABEL_SMOOTHING = option(
    0.0,
    "Share to spread evenly.",
    minimum=0,
    below=1,
    more="It is a share of the label's probability, spread evenly over all classes or all levels.",
)
SHIFT_CANVAS = option(
    0,
    "Largest shift of images.",
    minimum=0,
    maximum=2**16,
    metavar="PIXELS",
    more="Images move down and to the right by at most so many pixels. The borders of patches and groups then fall "
    "elsewhere in every epoch.",
)
DROP_PATH = option(
    None,
    "Drop rate of the last layer.",
    minimum=0,
    below=1,
    varies=True,
    more="Stochastic depth: the rate falls linearly to 0 for the first layer (arXiv:1603.09382).",
)
RARE_WINDOWS = option(
    0.0,
    "Windows around rare classes.",
    minimum=0,
    maximum=1,
    metavar="SHARE",
    more="With --size, this share of the training windows is drawn around labelled pixels, or around objects; all "
    "classes that the image has are then equally likely. With 0, training meets classes in proportion to their areas "
    "or numbers.",
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


@dataclass(frozen=True, kw_only=True, slots=True)
class BackgroundOptions(TaskOptions):
    """Options of tasks that can leave out background."""

    skip_background: bool = option(
        False,
        "Leave out constant groups.",
        more="`fit classify`, `embed`, `segment`, `detect` and `evaluate` then leave them out, too, unless you choose "
        "otherwise.",
    )
    background_threshold: float = option(
        BACKGROUND_THRESHOLD,
        "Pixel range of background.",
        minimum=0,
        maximum=1,
        metavar="SHARE",
        more="A group whose pixels vary by less than this share of the range of the training pixels is background.",
    )

    def __post_init__(self) -> None:
        TaskOptions.__post_init__(self)
        _ = self.background

    @property
    def background(self) -> float | None:
        """Share of the pixel range below which groups are left out; None to keep all."""
        return background_share(self.skip_background, self.background_threshold)

    @classmethod
    def upgraded(cls, stored: Mapping[str, Any]) -> dict[str, Any]:
        """Return stored settings under the names of today: `background`, a share or None, became two options."""
        values = dict(stored)
        if "background" in values and (share := values.pop("background")) is not None:
            values |= {"skip_background": True, "background_threshold": share}
        return values
