"""Scores a model on annotated images, for `fit evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from fitcli.annotations.objects.placed_objects import place_objects
from fitcli.data.dataset import Sample
from fitcli.images.base import ImageReader
from fitcli.tasks.assessment import Assessment
from fitcli.tasks.detect.config import ONE_PER_PLACE, DetectDetails
from fitcli.tasks.detect.detect_image import detect_image
from fitcli.tasks.detect.detection_evaluation import detection_evaluation
from fitcli.tasks.detect.detection_scores import ImageMatches
from fitcli.tasks.evaluation_result import Evaluation, Split
from models.dense import FITDense


class DetectionScorer(Assessment[FITDense]):
    """Compares found objects with true ones; see `Scorer` and `Assessment` for its members."""

    @property
    def depends_on(self) -> tuple[object, ...]:
        """Whether a place has one object. The threshold is applied to all images at the end."""
        return (self._details.one_per_place,)

    def score(self, image: ImageReader, sample: Sample, number: int) -> list[float]:
        """Return the matches of one image, see `ImageMatches.as_row`."""
        config = self.checkpoint.config
        objects = place_objects(sample.target, image, config.classes)
        found = detect_image(self.checkpoint, image, self.runtime, self.settings, purpose="evaluate").found
        return ImageMatches.of(found, objects, config).as_row()

    def summarize(self, scored: Sequence[tuple[Sample, list[float]]], split: Split, failed: int) -> Evaluation:
        """Return average precision, precision, recall, F1 and counts, by class and by size, and FROC."""
        config = self.checkpoint.config
        found = detection_evaluation(config.task, config.classes, self._details.threshold, scored, split, failed)
        return replace(found, scores={ONE_PER_PLACE: self._details.one_per_place, **found.scores})

    @property
    def _details(self) -> DetectDetails:
        return cast(DetectDetails, self.checkpoint.config.details)
