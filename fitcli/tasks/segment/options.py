"""Options of `fit train --task segment`. Never imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from fitcli.runs.option import option, shared
from fitcli.runs.task_options import PresetDefaults
from fitcli.tasks.preset_defaults import DENSE_MODELS, EARLIER_CLASSIFIER
from fitcli.tasks.shared_options import DROP_PATH, RARE_WINDOWS, SHIFT_CANVAS, BackgroundOptions

ClassWeights = Literal["none", "root", "inverse"]
"""How classes are weighted in the loss: equally by pixel, by the inverse root of their share, or by its inverse."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentOptions(BackgroundOptions):
    """Options of models that name the class of every place; the help text of each field explains it."""

    presets: ClassVar[Mapping[str, PresetDefaults]] = DENSE_MODELS
    earlier: ClassVar[PresetDefaults] = EARLIER_CLASSIFIER
    next_command: ClassVar[str] = "fit segment IMAGE --checkpoint {run} --out map.tif"

    classes: str | None = option(
        None,
        "Names of values of label images.",
        metavar="NAMES",
        more="A text such as 0=background,1=tumor, or a JSON file. Without it, the label images are asked: their "
        "palette, `image-label` of an OME-Zarr, or the classes of the polygons; else values are their own names.",
    )
    elsewhere: str | None = option(
        None,
        "Class of what no polygon covers.",
        metavar="CLASS",
        more="Without it, what no polygon covers is ignored, except inside of an annotation of class Region.",
    )
    cell: int = option(
        2,
        "Side of a map's cell.",
        minimum=1,
        maximum=2**12,
        metavar="PIXELS",
        more="It divides the side of a patch. The model gives one class to each cell of so many pixels.",
    )
    rare_windows: float = shared(RARE_WINDOWS)
    class_weights: ClassWeights = option(
        "none",
        "Weights: none, root, inverse.",
        metavar="NAME",
        more="none: every pixel counts the same; inverse: every class counts the same; root: the square root of that.",
    )
    focal: float = option(
        0.0,
        "Focal loss exponent.",
        minimum=0,
        maximum=10,
        more="0: cross-entropy. Otherwise pixels that the model is sure of count less (Lin et al. 2017, "
        "arXiv:1708.02002, section 3.2).",
    )
    shift_canvas: int = shared(SHIFT_CANVAS)
    drop_path: float = shared(DROP_PATH)


OPTIONS = SegmentOptions
