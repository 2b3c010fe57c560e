"""Scores of found objects over images: average precision, precision and recall at a threshold, counts, by size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from fitcli.annotations.affine_map import Floats
from fitcli.annotations.objects.placed_objects import PlacedObjects
from fitcli.runs.config import RunConfig
from fitcli.tasks.detect.average_precision import average_precision, best_threshold
from fitcli.tasks.detect.cell_layout import Integers
from fitcli.tasks.detect.config import DetectDetails
from fitcli.tasks.detect.detections import Detections
from fitcli.tasks.detect.matching import FALSE, THRESHOLDS, TRUE, Matches, match_boxes, match_points
from models.config import DenseConfig

POINT_CELLS = 3
"""Greatest distance between a found point and the true one, in cells."""

FROC_RATES = (0.25, 0.5, 1, 2, 4, 8)
"""Numbers of false objects per image at which the sensitivity is read, as in CAMELYON16."""

KIND_BASE = 3
"""Base of the number that packs the kinds of an object by threshold."""


class ImageMatches(NamedTuple):
    """The matches of one image.

    Attributes:
        matches: The matches.
    """

    matches: Matches

    @classmethod
    def of(cls, found: Detections, objects: PlacedObjects, config: RunConfig) -> Self:
        """Match the objects that a run found in an image."""
        details = config.details
        assert isinstance(details, DetectDetails)
        if details.are_points:
            return cls(match_points(found, objects, point_radius(config)))
        return cls(match_boxes(found, objects))

    def as_row(self) -> list[float]:
        """Return the matches as numbers, for `Scorer.score`."""
        own = self.matches
        powers = KIND_BASE ** np.arange(own.kinds.shape[1], dtype=np.int64)
        packed = (own.kinds.astype(np.int64) * powers).sum(axis=1)
        columns = np.column_stack([own.scores, own.numbers, own.sides, packed]).astype(np.float64)
        true = np.column_stack([own.true_numbers, own.true_sides]).astype(np.float64)
        return [float(own.kinds.shape[1]), float(len(own.scores)), *columns.ravel().tolist(), *true.ravel().tolist()]

    @classmethod
    def of_row(cls, row: Sequence[float]) -> Self:
        """Return the matches from what `as_row` gives."""
        thresholds, count = int(row[0]), int(row[1])
        values = np.array(row[2:], np.float64)
        found, true = values[: 4 * count].reshape(-1, 4), values[4 * count :].reshape(-1, 2)
        powers = KIND_BASE ** np.arange(thresholds, dtype=np.int64)
        kinds = (found[:, 3].astype(np.int64)[:, None] // powers % KIND_BASE).astype(np.uint8)
        return cls(
            Matches(
                scores=found[:, 0].astype(np.float32),
                numbers=found[:, 1].astype(np.int64),
                sides=found[:, 2],
                kinds=kinds,
                true_numbers=true[:, 0].astype(np.int64),
                true_sides=true[:, 1],
            )
        )


def point_radius(config: RunConfig) -> float:
    """Return the greatest distance between a found point and the true one, in pixels."""
    model = config.model
    assert isinstance(model, DenseConfig)
    return float(POINT_CELLS * model.cell)


def pooled(images: Sequence[ImageMatches]) -> Matches:
    """Return the matches of all images, those of an image after those of another."""
    return Matches(*map(np.concatenate, zip(*(image.matches for image in images), strict=True)))


def class_precisions(matches: Matches, classes: int) -> Floats:
    """Return the average precision of each class by each threshold, [k t]; NaN for a class without a true object."""
    rows = []
    for number in range(classes):
        own = matches.numbers == number
        true = int(np.count_nonzero(matches.true_numbers == number))
        rows.append(average_precision(matches.scores[own], matches.kinds[own], true))
    return np.array(rows).reshape(classes, -1)


class Counts(NamedTuple):
    """Numbers of objects.

    Attributes:
        true: True objects.
        found: Found objects that are right or wrong.
        right: Found objects that are right.
    """

    true: int
    found: int
    right: int

    def scores(self) -> dict[str, Any]:
        """Return precision, recall, F1 and the error of the count; None where undefined."""
        return {
            "true": self.true,
            "found": self.found,
            "precision": self.right / self.found if self.found else None,
            "recall": self.right / self.true if self.true else None,
            "f1": 2 * self.right / (self.true + self.found) if self.true + self.found else None,
            "count_error": self.found - self.true,
        }


def counts_at(matches: Matches, threshold: float, number: int | None = None) -> Counts:
    """Return the numbers of objects with at least a score, of a class or of all, by the first threshold of overlap."""
    kinds = matches.kinds[:, 0]
    chosen = matches.scores >= threshold
    true = matches.true_numbers
    if number is not None:
        chosen, true = chosen & (matches.numbers == number), true[true == number]
    right = int(np.count_nonzero(kinds[chosen] == TRUE))
    return Counts(len(true), right + int(np.count_nonzero(kinds[chosen] == FALSE)), right)


def by_octave(matches: Matches, threshold: float) -> list[dict[str, Any]]:
    """Return the scores of objects of each octave of sides: from a power of two to the next, in pixels."""
    octaves, true = _octaves(matches.sides), _octaves(matches.true_sides)
    chosen, kinds = matches.scores >= threshold, matches.kinds[:, 0]
    rows = []
    for octave in np.unique(np.concatenate([octaves[chosen], true])).tolist():
        own = chosen & (octaves == octave)
        right = int(np.count_nonzero(kinds[own] == TRUE))
        found = right + int(np.count_nonzero(kinds[own] == FALSE))
        counts = Counts(int(np.count_nonzero(true == octave)), found, right)
        rows.append({"from": 2.0**octave, "to": 2.0 ** (octave + 1), **counts.scores()})
    return rows


def _octaves(sides: Floats) -> Integers:
    return np.floor(np.log2(np.maximum(sides, 2.0**-10))).astype(np.int64)


def froc(matches: Matches, images: int) -> dict[str, float]:
    """Return the sensitivity at each number of false objects per image, and their mean; all classes together."""
    kinds, scores = matches.kinds[:, 0], matches.scores
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(kinds[order] == TRUE) / max(1, len(matches.true_numbers))
    slips = np.cumsum(kinds[order] == FALSE) / max(1, images)
    points = np.concatenate([[0.0], slips]), np.concatenate([[0.0], hits])
    sensitivities = {f"{rate:g}": float(_at(*points, rate)) for rate in FROC_RATES}
    return sensitivities | {"mean": sum(sensitivities.values()) / len(FROC_RATES)}


def _at(slips: Floats, hits: Floats, rate: float) -> float:
    """Return the greatest sensitivity with at most so many false objects per image."""
    return float(hits[slips <= rate].max())


def summary(images: Sequence[ImageMatches], classes: Sequence[str], threshold: float) -> dict[str, Any]:
    """Return all scores over images as JSON data.

    Args:
        images: The matches of each image.
        classes: Names of the classes.
        threshold: Least score of the objects that `fit detect` reports.
    """
    matches = pooled(images)
    precisions = class_precisions(matches, len(classes))
    total = counts_at(matches, threshold)
    best = best_threshold(matches.scores, matches.kinds[:, 0], total.true, threshold)
    is_boxes = precisions.shape[1] == len(THRESHOLDS)
    each = {}
    for number, name in enumerate(classes):
        own = {"ap50" if is_boxes else "ap": _number(precisions[number, 0])}
        own |= {"ap": _number(precisions[number].mean())} if is_boxes else {}
        each[name] = own | counts_at(matches, threshold, number).scores()
    errors = [abs(counts_at(image.matches, threshold).scores()["count_error"]) for image in images]
    document: dict[str, Any] = {"threshold": threshold, "ap": _mean(precisions)}
    document |= {"ap50": _mean(precisions[:, :1]), "ap75": _mean(precisions[:, 5:6])} if is_boxes else {}
    document |= total.scores()
    document |= {
        "mean_absolute_count_error": float(np.mean(errors)),
        "best_f1": best.f1,
        "best_threshold": best.threshold,
    }
    document["per_class"] = each
    document |= {"per_octave": by_octave(matches, threshold)} if is_boxes else {}
    return document | {"froc": froc(matches, len(images))}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _mean(precisions: NDArray[np.float64]) -> float | None:
    """Return the mean over the classes with true objects."""
    known = precisions[~np.isnan(precisions[:, 0])]
    return float(known.mean()) if len(known) else None
