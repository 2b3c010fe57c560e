"""What reports show of a segmentation: the confusion of classes, and maps beside the truth and their difference."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from fitcli.annotations.class_colors import with_colors
from fitcli.annotations.class_table import IGNORED
from fitcli.annotations.label_rules import LabelRules
from fitcli.annotations.labels import open_labels
from fitcli.data.dataset import Sample
from fitcli.images.base import ImageReader
from fitcli.images.encoded_picture import resized
from fitcli.images.small_view import small_view
from fitcli.images.window import Window
from fitcli.reports.parts import Case, Chart, ChartSeries, CountMatrix, Picture, Section
from fitcli.tasks.assessment import Assessment
from fitcli.tasks.segment.cell_map import cell_map
from fitcli.tasks.segment.config import SegmentDetails
from fitcli.tasks.segment.segment_scores import ImageScores, summarize
from fitcli.tasks.segment.strips import NOT_SEEN
from fitcli.tasks.task_report import LONGEST_SIDE, Scored
from models.dense import FITDense

WRONG, UNKNOWN = (215, 30, 110), (255, 255, 255)
"""Colours of wrong places, and of places without a label or that were not looked at."""

MOST_BARS = 40
"""Most images in the chart of scores by image."""


class SegmentationReport(Assessment[FITDense]):
    """Shows a segmentation; see `TaskReport` and `Assessment` for the members."""

    def sections(self, scored: Scored) -> list[Section]:
        """Return the confusion of pixels, and the Dice of the images."""
        names = self.checkpoint.config.classes
        scores = summarize([row for _, row in scored], names, resampled=False)
        dice = sorted(value for _, row in scored if (value := ImageScores.read(row, len(names)).dice()) is not None)
        ranks = list(range(1, len(dice) + 1))
        style = ChartSeries("", ranks, dice, "bars" if len(dice) <= MOST_BARS else "line", 0)
        chart = Chart(
            title="Dice of each image, from the worst to the best", x="images", y="mean Dice of its classes",
            series=[style] if dice else [], y_range=(0.0, 1.0), x_range=(0.0, len(dice) + 1.0),
        )  # fmt: skip
        matrix = CountMatrix("Pixels by truth (row) and answer (column)", names, scores["confusion"])
        return [Section("Classes", [matrix, chart])]

    def badness(self, sample: Sample, row: list[float]) -> float:
        """Return 1 minus the mean Dice of an image; -1 without a labelled pixel."""
        dice = ImageScores.read(row, len(self.checkpoint.config.classes)).dice()
        return -1.0 if dice is None else 1 - dice

    def case(self, image: ImageReader, sample: Sample, row: list[float] | None = None) -> Case:
        """Return an image, its labels, the map, and where they differ."""
        cells, cell = cell_map(self.checkpoint, image, self.runtime, self.settings), self.checkpoint.model.config.cell
        step = max(1, -(-max(image.info.size) // LONGEST_SIDE))
        rows, columns = (np.arange(0, side, step) for side in image.info.size)
        found = cells[np.ix_(rows // cell, columns // cell)]
        truth = found if sample.target is None else self._truth(image, sample, step)
        view = resized(small_view(image, LONGEST_SIDE), (found.shape[0], found.shape[1]))
        labelled = truth != IGNORED
        if image.info.nodata is not None or image.info.dtype.kind == "f":
            # Missing pixels have no class in the map, and do not count.
            labelled &= found != NOT_SEEN
        wrong = labelled & (truth != found)
        pictures = [Picture(view, "image")]
        if sample.target is not None:
            pictures.append(Picture(self._drawn(truth), "truth", flat=True))
        pictures.append(Picture(self._drawn(found), "found", flat=True))
        if sample.target is not None:
            pictures.append(Picture(_difference(view, wrong), "wrong places"))
        share = wrong.sum() / max(1, labelled.sum())
        return Case(str(sample.path), f"{share:.1%} of the labelled places are wrong", pictures)

    def samples(self) -> Iterator[Picture]:
        """Yield nothing."""
        return iter(())

    def _truth(self, image: ImageReader, sample: Sample, step: int) -> NDArray[np.uint8]:
        """Return the class number of every `step`-th pixel of an image in both directions."""
        details = cast(SegmentDetails, self.checkpoint.config.details)
        table, strips = details.table(self.checkpoint.config.classes), list[NDArray[Any]]()
        height, width = image.info.size
        with open_labels(Path(sample.target), image, table, LabelRules(details.elsewhere)) as labels:
            # A strip of rows of groups at a time, as in scoring.
            rows = max(1, self.checkpoint.model.config.patch * self.checkpoint.model.config.group // step) * step
            for top in range(0, height, rows):
                window = Window(top, 0, min(rows, height - top), width)
                strips.append(labels.read(window)[::step, ::step, 0])
        return np.concatenate(strips)

    def colors(self) -> list[tuple[tuple[int, int, int], str]]:
        """Return the colour of each class, of wrong places and of those without a label, with names."""
        config = self.checkpoint.config
        table = with_colors(cast(SegmentDetails, config.details).table(config.classes))
        named = [(color or UNKNOWN, name) for color, name in zip(table.colors, table.names, strict=True)]
        return [*named, (WRONG, "wrong"), (UNKNOWN, "no label, or not looked at")]

    def _drawn(self, numbers: NDArray[np.uint8]) -> NDArray[np.uint8]:
        palette = np.full((256, 3), UNKNOWN, np.uint8)
        colors = [color for color, _ in self.colors()[: len(self.checkpoint.config.classes)]]
        palette[: len(colors)] = colors
        return palette[numbers]


def _difference(view: NDArray[np.uint8], wrong: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return the image in grey, with wrong places in a colour of their own."""
    grey = view.mean(axis=-1, keepdims=True).repeat(3, axis=2) * 0.7 + 70
    return np.where(wrong[..., None], np.array(WRONG), grey.clip(0, 255)).astype(np.uint8)
