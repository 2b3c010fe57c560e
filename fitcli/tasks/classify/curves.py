"""Points of the curves that show how good probabilities are: ROC, precision-recall, calibration, survival."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fitcli.tasks.classify.scores import BINS

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Curve(NamedTuple):
    """Points of a curve.

    Attributes:
        x, y: Their places, [n].
    """

    x: Floats
    y: Floats


def roc(probabilities: Floats, held: Flags) -> Curve:
    """Return 1 - specificity and sensitivity at each threshold, from (0, 0) to (1, 1); empty if a class is missing.

    Args:
        probabilities: [i].
        held: Whether the class holds, [i].
    """
    hits, slips = _counts(probabilities, held)
    if not hits[-1] or not slips[-1]:
        return Curve(np.empty(0), np.empty(0))
    return Curve(slips / slips[-1], hits / hits[-1])


def precision_recall(probabilities: Floats, held: Flags) -> Curve:
    """Return recall and precision at each threshold, from the greatest on; empty without an image of the class."""
    hits, slips = (counts[1:] for counts in _counts(probabilities, held))
    if not held.any():
        return Curve(np.empty(0), np.empty(0))
    return Curve(hits / hits[-1], hits / (hits + slips))


def average_precision(probabilities: Floats, held: Flags) -> float | None:
    """Return the mean of the precisions, weighted by the growth of the recall; None without an image of the class."""
    curve = precision_recall(probabilities, held)
    return float((np.diff(curve.x, prepend=0.0) * curve.y).sum()) if len(curve.x) else None


def _counts(probabilities: Floats, held: Flags) -> tuple[Floats, Floats]:
    """Return the numbers of hits and of false alarms by threshold, from none to all; equal values go together."""
    order = np.argsort(-probabilities, kind="stable")
    values, flags = probabilities[order], held[order]
    last = np.flatnonzero(np.append(np.diff(values) != 0, True))
    hits, slips = np.cumsum(flags)[last], np.cumsum(~flags)[last]
    return np.concatenate([[0.0], hits]), np.concatenate([[0.0], slips])


class Reliability(NamedTuple):
    """Bins of probabilities of the same width, from 0 to 1, without those that are empty.

    Attributes:
        mean: Mean probability of each bin.
        share: Share of the answers in it that are right.
        images: Number of answers in it.
    """

    mean: Floats
    share: Floats
    images: NDArray[np.int64]

    @property
    def error(self) -> float:
        """Expected calibration error: mean difference of both, weighted by the number of answers."""
        return float((self.images * np.abs(self.mean - self.share)).sum() / max(1, self.images.sum()))


def reliability(probabilities: Floats, right: Flags, bins: int = BINS) -> Reliability:
    """Return how often answers are right by how probable the model calls them, each [i]."""
    # The bins of torchmetrics, whose calibration error stands among the scores: a bin contains its lower end, and 1 has
    # a bin of its own.
    ends = np.linspace(0, 1, bins + 1, dtype=np.float32).astype(np.float64)
    place = np.searchsorted(ends, probabilities, side="right") - 1
    images = np.bincount(place, minlength=bins + 1)
    filled = images > 0
    mean, share = (
        np.bincount(place, weights=values, minlength=bins + 1)[filled] / images[filled]
        for values in (probabilities, right.astype(np.float64))
    )
    return Reliability(mean, share, images[filled])


def kaplan_meier(times: Floats, events: Flags) -> Curve:
    """Return the share that is still without the event by time (Kaplan and Meier 1958), from (0, 1) on.

    Args:
        times: Time of the event, or of the end of the observation, [i].
        events: Whether it was the event, [i].
    """
    moments = np.unique(times)
    at_risk = np.array([(times >= moment).sum() for moment in moments], np.float64)
    happened = np.array([(events & (times == moment)).sum() for moment in moments], np.float64)
    survival = np.cumprod(1 - happened / at_risk)
    return Curve(np.concatenate([[0.0], moments]), np.concatenate([[1.0], survival]))
