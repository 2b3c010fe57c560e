"""What each task shows in reports: charts over all images, single images with what was found there, samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from fitcli.data.dataset import Sample
from fitcli.images.base import ImageReader
from fitcli.reports.parts import RGB, Case, Picture, Section

LONGEST_SIDE = 420
"""Longest side of a picture in a report, in pixels."""

Scored = Sequence[tuple[Sample, list[float]]]
"""Images, each with the values of `Scorer.score`."""


class TaskReport(Protocol):
    """What reports show of a model."""

    def sections(self, scored: Scored) -> list[Section]:
        """Return charts and tables over all images that were scored, one or more."""

    def badness(self, sample: Sample, row: list[float]) -> float:
        """Return how bad the answer to an image is, from the values of its score; the greatest is the worst."""

    def case(self, image: ImageReader, sample: Sample, row: list[float] | None = None) -> Case:
        """Return an image with what the model finds there, beside the truth.

        Args:
            image: The open image.
            sample: The image in the data set, its target in the numbers of the run.
            row: Values of its score; None if it was not scored by itself.

        Raises:
            ImageError, FitError: The image or its truth cannot be read.
        """

    def colors(self) -> list[tuple[RGB, str]]:
        """Return the colours in the pictures of `case` with their meaning; none if they need no legend."""

    def samples(self) -> Iterator[Picture]:
        """Yield images that the model generates, one after the other; none for models that generate nothing."""


def ordered(badness: Mapping[int, float]) -> list[int]:
    """Return the numbers of images, the worst first; of equal ones, the first."""
    return sorted(badness, key=lambda number: (-badness[number], number))


def class_text(classes: Sequence[str], number: object) -> str:
    """Return the name of the class with a number; "unknown" where a data set does not say."""
    return classes[number] if isinstance(number, int) and 0 <= number < len(classes) else "unknown"
