"""Charts and tables of classes hold the numbers of the scores."""

from __future__ import annotations

import numpy as np
import pytest

from fitcli.reports.parts import Chart, CountMatrix, DataTable
from fitcli.runs.targets import Target
from fitcli.tasks.classify.scores import classification_scores, multi_label_scores
from fitcli.tasks.classify.targets.class_charts import MOST_CURVES, class_parts


@pytest.mark.parametrize("classes", [2, 3, 12])
def test_one_class_per_image(classes: int) -> None:
    rng = np.random.default_rng(classes)
    probabilities, labels = rng.dirichlet(np.ones(classes), 60), rng.integers(0, classes, 60)
    target = Target("kind", "single-label", tuple(f"c{n}" for n in range(classes)), outputs=classes)
    matrix, table, *charts = class_parts(target, probabilities, np.eye(classes, dtype=bool)[labels])
    scores = classification_scores(probabilities, labels)
    assert isinstance(matrix, CountMatrix)
    assert isinstance(table, DataTable)
    assert matrix.counts == scores["confusion"]
    areas = [float(row[6]) for row in table.rows if row[6] != "-"]
    assert np.mean(areas) == pytest.approx(scores["auroc"], abs=1e-4)
    recalls = [float(row[4]) for row in table.rows if row[4] != "-"]
    assert np.mean(recalls) == pytest.approx(scores["balanced_accuracy"], abs=1e-4)
    assert [chart.title for chart in charts if isinstance(chart, Chart)] == [
        "ROC", "Precision and recall", "Calibration", "How sure the model is"
    ]  # fmt: skip
    drawn = charts[0].series  # type: ignore[union-attr]
    assert len(drawn) - 1 == (1 if classes == 2 else min(classes, MOST_CURVES)), "and the diagonal"
    bars = charts[3].series  # type: ignore[union-attr]
    assert sum(bars[0].y) == 60
    assert sum(bars[1].y) == pytest.approx(60 * (1 - scores["accuracy"]))


def test_any_number_of_classes_per_image() -> None:
    rng = np.random.default_rng(0)
    probabilities, held = rng.random((40, 3)), rng.random((40, 3)) < 0.4
    target = Target("marks", "multi-label", ("a", "b", "c"), outputs=3)
    table, *charts = class_parts(target, probabilities, held)
    assert isinstance(table, DataTable)
    f1 = [float(row[5]) for row in table.rows]
    assert np.mean(f1) == pytest.approx(multi_label_scores(probabilities, held)["f1"], abs=1e-4)
    assert sum(charts[3].series[0].y) == 120  # type: ignore[union-attr]


def test_a_class_that_never_occurs_has_no_curve() -> None:
    target = Target("kind", "single-label", ("a", "b"), outputs=2)
    held = np.array([[True, False]] * 4)
    parts = class_parts(target, np.array([[0.9, 0.1]] * 4), held)
    assert not parts[2].series  # type: ignore[union-attr]
    assert parts[1].rows[1][6:] == ("-", "-")  # type: ignore[union-attr]
