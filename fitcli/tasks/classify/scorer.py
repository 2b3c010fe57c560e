"""Scores a classifier on the images of a data set, for `fit evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np

from fitcli.data.dataset import Sample
from fitcli.images.base import ImageReader
from fitcli.runs.config import RunConfig
from fitcli.runs.targets import result_columns
from fitcli.tasks.assessment import Assessment
from fitcli.tasks.classify.classify_image import classify_image
from fitcli.tasks.classify.config import ClassifyDetails
from fitcli.tasks.classify.decisions import decision_document
from fitcli.tasks.classify.multi_target_scores import evaluate_targets
from fitcli.tasks.classify.scores import classification_scores
from fitcli.tasks.classify.targets.kinds import prediction_slices
from fitcli.tasks.classify.thresholds import Flags, Thresholds, held_classes
from fitcli.tasks.classify.unit_scores import score_units
from fitcli.tasks.evaluation_result import Evaluation, Split, UnitScores
from models.encoder import FITClassifier

SCORES_BYTES = 40 << 20
"""Memory for the scores after the last image: torchmetrics and all that it imports."""


class ClassificationScorer(Assessment[FITClassifier]):
    """Classifies the images; see `Scorer` and `Assessment` for its members."""

    @property
    def depends_on(self) -> tuple[object, ...]:
        """Empty: the scores depend on nothing else."""
        return ()

    def score(self, image: ImageReader, sample: Sample, number: int) -> list[float]:
        """Return the predictions for all targets, such as probabilities of classes, side by side."""
        result = classify_image(self.checkpoint, image, self.runtime, self.settings, finish_bytes=SCORES_BYTES)
        return [float(p) for each in result.target_probabilities for p in each]

    def summarize(self, scored: Sequence[tuple[Sample, list[float]]], split: Split, failed: int) -> Evaluation:
        """Return accuracy, AUROC, calibration and confusion; with several targets, the scores of each."""
        config = self.checkpoint.config
        targets, classes = config.targets, config.classes
        if targets:
            parts = prediction_slices(targets)
            by_target = [(sample, tuple(np.array(row[part]) for part in parts)) for sample, row in scored]
            return evaluate_targets(targets, split, by_target, failed, self._thresholds)
        probabilities = np.array([row for _, row in scored])
        scores = classification_scores(probabilities, np.array([sample.target for sample, _ in scored]))
        scores |= decision_document(config.class_targets[0], probabilities, *_truth(scored, config), self._thresholds)
        rows = [
            (sample.path, classes[sample.target], classes[int(np.argmax(row))], *(f"{p:.6f}" for p in row))
            for sample, row in scored
        ]
        return Evaluation(
            task=config.task,
            split=split,
            images=len(scored),
            failed=failed,
            scores={**scores, "classes": list(classes)},
            columns=tuple(result_columns(["path", "label", "predicted"], config.class_targets, plain=True)),
            rows=list(rows),
            intervals=scores["intervals"]["scores"],
        )

    @property
    def _thresholds(self) -> Thresholds:
        return cast(ClassifyDetails, self.checkpoint.config.details).thresholds

    def per_unit(self, scored: Sequence[tuple[Sample, list[float]]]) -> UnitScores:
        """Return the scores of patients, by the mean and the greatest probability of their images."""
        config = self.checkpoint.config
        return score_units(config.class_targets, bool(config.targets), scored, self._thresholds)


def _truth(scored: Sequence[tuple[Sample, list[float]]], config: RunConfig) -> tuple[Flags, list[Sample]]:
    """Return whether each class holds, [i k], and the images."""
    samples = [sample for sample, _ in scored]
    return held_classes([(sample.target,) for sample in samples], len(config.classes)), samples
