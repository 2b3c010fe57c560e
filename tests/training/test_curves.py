"""The charts of a run: which there are, and that they hold its numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fitcli.training.curves import SMOOTHED, curves, main_curves
from fitcli.training.metrics_history import MetricsHistory


def history(folder: Path, steps: int) -> MetricsHistory:
    lines = []
    for step in range(1, steps + 1):
        lines.append({"kind": "train", "step": step, "loss": 1 / step, "learning_rate": 0.1, "images_per_second": 8.0,
                      "data_wait": 0.1, "peak_bytes": 2**30 * 3, "gradient_norm": 1.0, "accuracy": 0.25})  # fmt: skip
        if step % 10 == 0:
            lines.append({"kind": "validation", "step": step, "loss": 2.0, "accuracy": step / steps, "error": 7.5})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))
    found = MetricsHistory(folder)
    found.update()
    return found


def test_every_number_has_a_chart(tmp_path: Path) -> None:
    charts = {chart.title: chart for chart in curves(history(tmp_path, 40), 4)}
    assert list(charts) == ["Loss", "Validation scores", "error", "Learning rate", "Time per step", "Peak memory",
                            "Waiting for images", "Norm of the gradient"]  # fmt: skip
    training, validation, *_ = charts["Loss"].series
    assert list(training.y) == pytest.approx([1 / step for step in range(1, 41)])
    assert (list(validation.x), list(validation.y)) == ([10, 20, 30, 40], [2.0] * 4)
    assert set(charts["Time per step"].series[0].y) == {0.5}
    assert set(charts["Peak memory"].series[0].y) == {3.0}
    assert [each.name for each in charts["Validation scores"].series] == ["accuracy", "", "accuracy in training"]
    assert all(chart.x_range == (0, 40) for chart in charts.values())
    assert [chart.title for chart in main_curves(list(charts.values()))] == [
        "Loss",
        "Validation scores",
        "Learning rate",
        "Time per step",
    ]


def test_many_steps_have_a_smooth_curve_of_means(tmp_path: Path) -> None:
    chart = curves(history(tmp_path, 600), 4)[0]
    every, smooth = chart.series[:2]
    assert (every.style, len(every.x), len(smooth.x)) == ("faint", 600, SMOOTHED)
    assert smooth.y[0] == pytest.approx(np.mean(1 / np.arange(1, 11)))


def test_a_run_without_numbers_has_empty_charts(tmp_path: Path) -> None:
    charts = curves(MetricsHistory(tmp_path), 4)
    assert not any(len(series.x) for chart in charts for series in chart.series)


def test_scores_of_one_class_have_its_name(tmp_path: Path) -> None:
    line = {"kind": "validation", "step": 1, "loss": 1.0, "iou_0": 0.5, "iou_1": 0.25, "iou_2": 0.1, "mean_iou": 0.3}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    found = MetricsHistory(tmp_path)
    found.update()
    chart = next(each for each in curves(found, 1, ("alpha", "beta")) if each.title == "Validation scores")
    assert [each.name for each in chart.series if each.name] == ["iou of alpha", "iou of beta", "iou 2", "mean iou"]


def test_scores_that_are_equal_share_a_curve(tmp_path: Path) -> None:
    """The accuracy of classes of one size is the balanced accuracy, whose curve would lie over it."""
    lines = []
    for step, accuracy in enumerate((0.25, 0.5, 1.0), start=1):
        lines.append({"kind": "train", "step": step, "loss": 1.0, "accuracy": 0.1})
        lines.append({"kind": "validation", "step": step, "loss": 1.0, "accuracy": accuracy, "auroc": 0.5,
                      "balanced_accuracy": accuracy + 1e-16, "recall": accuracy - 0.01})  # fmt: skip
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))
    found = MetricsHistory(tmp_path)
    found.update()
    chart = next(each for each in curves(found, 1) if each.title == "Validation scores")
    names = ["accuracy and balanced accuracy", "accuracy in training", "auroc", "recall"]
    assert [each.name for each in chart.series if each.name] == names
    shown = [tuple(each.y) for each in chart.series if each.name and each.style == "line"]
    assert len(set(shown)) == len(shown) == 3
