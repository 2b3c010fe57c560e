"""Points of the curves that show how good scores of found objects are: FROC, and precision by recall."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fitcli.annotations.affine_map import Floats
from fitcli.tasks.detect.matching import FALSE, LEFT_OUT, TRUE, Matches


class ObjectCurve(NamedTuple):
    """Points of a curve, by falling score.

    Attributes:
        x, y: Their places, [n].
    """

    x: Floats
    y: Floats


def froc_curve(matches: Matches, images: int) -> ObjectCurve:
    """Return the false objects per image and the sensitivity at each score, of all classes together, from (0, 0) on."""
    hits, slips = _counts(matches)
    return ObjectCurve(slips / max(1, images), hits / max(1, len(matches.true_numbers)))


def precision_recall_curve(matches: Matches, number: int) -> ObjectCurve:
    """Return recall and precision of a class at each score; empty without a true object or a found one."""
    own = matches.numbers == number
    true = int(np.count_nonzero(matches.true_numbers == number))
    hits, slips = (
        counts[1:] for counts in _counts(matches._replace(scores=matches.scores[own], kinds=matches.kinds[own]))
    )
    if not true:
        return ObjectCurve(np.empty(0), np.empty(0))
    return ObjectCurve(hits / true, hits / (hits + slips))


def _counts(matches: Matches) -> tuple[Floats, Floats]:
    """Return the numbers of right and of false objects with each score or more, from none on; equal go together."""
    counted = matches.kinds[:, 0] != LEFT_OUT
    scores, kinds = matches.scores[counted], matches.kinds[counted, 0]
    order = np.argsort(-scores, kind="stable")
    scores, kinds = scores[order], kinds[order]
    last = np.flatnonzero(np.append(np.diff(scores) != 0, True)) if len(scores) else np.empty(0, np.int64)
    hits, slips = (np.cumsum(kinds == kind)[last].astype(np.float64) for kind in (TRUE, FALSE))
    return np.concatenate([[0.0], hits]), np.concatenate([[0.0], slips])
