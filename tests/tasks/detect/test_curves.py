"""FROC and precision by recall: equal to counts at each score, and to the points among the scores."""

from __future__ import annotations

import numpy as np
import pytest

from fitcli.tasks.detect.curves import froc_curve, precision_recall_curve
from fitcli.tasks.detect.detection_scores import FROC_RATES, ImageMatches, counts_at, froc
from fitcli.tasks.detect.matching import Matches


def drawn(seed: int) -> Matches:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(0, 50))
    return Matches(
        scores=(rng.integers(0, 30, count) / 30).astype(np.float32),
        numbers=rng.integers(0, 2, count),
        sides=np.ones(count),
        kinds=rng.integers(0, 3, (count, 1)).astype(np.uint8),
        true_numbers=rng.integers(0, 2, 60),
        true_sides=np.ones(60),
    )


@pytest.mark.parametrize("seed", range(15))
def test_points_are_the_counts_at_each_score(seed: int) -> None:
    matches = drawn(seed)
    curve = froc_curve(matches, 4)
    thresholds = sorted(set(matches.scores[matches.kinds[:, 0] != 2].tolist()), reverse=True)
    counts = [counts_at(matches, threshold) for threshold in thresholds]
    np.testing.assert_allclose(curve.x, [0, *((each.found - each.right) / 4 for each in counts)])
    np.testing.assert_allclose(curve.y, [0, *(each.right / 60 for each in counts)])
    for number in (0, 1):
        own = precision_recall_curve(matches, number)
        each = [counts_at(matches, threshold, number) for threshold in thresholds]
        expected = {(count.right / count.true, count.right / count.found) for count in each if count.found}
        assert set(zip(own.x.tolist(), own.y.tolist(), strict=True)) == expected


def test_points_of_the_scores_lie_on_the_curve() -> None:
    matches = ImageMatches.of_row(ImageMatches(drawn(3)).as_row()).matches
    matches = matches._replace(scores=np.linspace(1, 0.1, len(matches.scores), dtype=np.float32))
    curve, rates = froc_curve(matches, 4), froc(matches, 4)
    for rate in FROC_RATES:
        assert rates[f"{rate:g}"] == pytest.approx(curve.y[curve.x <= rate].max())
