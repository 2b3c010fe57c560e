"""Scores a model on label images, for `fit evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from fitcli.annotations.class_table import IGNORED
from fitcli.annotations.label_rules import LabelRules
from fitcli.annotations.labels import open_labels
from fitcli.data.dataset import Sample
from fitcli.images.base import ImageReader
from fitcli.images.missing import missing_pixels
from fitcli.images.window import Window
from fitcli.patches.grid import PatchGrid
from fitcli.tasks.assessment import Assessment
from fitcli.tasks.evaluation_result import Evaluation, Split, UnitScores
from fitcli.tasks.segment.config import SegmentDetails
from fitcli.tasks.segment.segment_evaluation import score_units, segmentation_evaluation
from fitcli.tasks.segment.segment_image import segment_image
from fitcli.tasks.segment.segment_scores import ImageScores
from fitcli.tasks.segment.strip_queue import StripQueue
from fitcli.tasks.segment.strips import Strips, pixels_of
from models.dense import FITDense

TOLERANCE_CELLS = 2
"""Greatest distance of boundary pixels that count as hits, in cells."""


class SegmentationScorer(Assessment[FITDense]):
    """Compares the maps of images with their labels; see `Scorer` and `Assessment` for its members."""

    @property
    def tolerance(self) -> int:
        """Greatest distance of boundary pixels that count as hits, in pixels."""
        return TOLERANCE_CELLS * self.checkpoint.model.config.cell

    @property
    def depends_on(self) -> tuple[object, ...]:
        """The tolerance."""
        return (self.tolerance,)

    def score(self, image: ImageReader, sample: Sample, number: int) -> list[float]:
        """Return the counts of the pixels of one image, see `ImageScores.of`."""
        config, model = self.checkpoint.config, self.checkpoint.model.config
        details, grid = cast(SegmentDetails, config.details), PatchGrid(image.info.size, model.patch, model.group)
        table, rules = details.table(config.classes), LabelRules(details.elsewhere)
        count = partial(ImageScores.of, classes=model.outputs, tolerance=self.tolerance)
        with open_labels(Path(sample.target), image, table, rules) as labels, StripQueue(count) as counted:

            def take(row: int, cells: NDArray[Any]) -> None:
                window = replace(grid.window(row, 0), width=image.info.width).clip(*image.info.size)
                found = pixels_of(cells, model.cell, window.height, window.width)
                counted.put((_truth(labels, image, window), found))

            strips = Strips(grid, model.cells, take)
            segment_image(self.checkpoint, image, self.runtime, self.settings, strips.put, purpose="evaluate")
            strips.finish()
            return counted.result()

    def summarize(self, scored: Sequence[tuple[Sample, list[float]]], split: Split, failed: int) -> Evaluation:
        """Return IoU, Dice, precision, recall and boundary F of each class, and means over the classes."""
        config = self.checkpoint.config
        return segmentation_evaluation(config.task, config.classes, self.tolerance, scored, split, failed)

    def per_unit(self, scored: Sequence[tuple[Sample, list[float]]]) -> UnitScores:
        """Return the scores of patients, from the sums of the counts of their images."""
        return score_units(self.checkpoint.config.classes, scored)


def _truth(labels: ImageReader, image: ImageReader, window: Window) -> NDArray[np.uint8]:
    """Return the class numbers of a window, [height width]; pixels that are missing in the image have none."""
    numbers = labels.read(window)[..., 0]
    if image.info.nodata is not None or image.info.dtype.kind == "f":
        missing = missing_pixels(image.read(window), image.info.nodata)
        if missing is not None:
            numbers[missing.any(axis=-1)] = IGNORED
    return numbers
