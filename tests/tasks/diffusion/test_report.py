"""A diffusion model is shown by its error at each level of noise, and by images that it generates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.generators import TRAINED, make_run, photograph

from fitcli.data.dataset import Sample
from fitcli.device.runtime import choose_runtime
from fitcli.reports.parts import Chart
from fitcli.tasks.diffusion import report as module
from fitcli.tasks.diffusion.report import DenoisingReport
from fitcli.tasks.diffusion.scores import TIMES
from fitcli.tasks.encoding.encode import EncodingSettings
from fitcli.tasks.load import load_run

CPU = choose_runtime("cpu", "fp32")


def report_of(folder: Path, **changes: Any) -> DenoisingReport:
    return DenoisingReport(load_run(make_run(folder, **changes), CPU), CPU, EncodingSettings())


def test_the_error_by_level_of_noise(tmp_path: Path) -> None:
    report = report_of(tmp_path)
    rows = np.random.default_rng(0).uniform(0.1, 1, (20, len(TIMES)))
    (chart,) = report.sections([(Sample(Path("a"), 0), row.tolist()) for row in rows])[0].parts
    assert isinstance(chart, Chart)
    mean, low, high = (np.array(series.y) for series in chart.series)
    assert mean == pytest.approx(rows.mean(axis=0))
    assert ((rows < low).sum(axis=0) == 2).all()
    assert ((rows > high).sum(axis=0) == 2).all()
    assert all(tuple(series.x) == TIMES for series in chart.series)
    (alone,) = report.sections([(Sample(Path("a"), 0), rows[0].tolist())])[0].parts
    assert isinstance(alone, Chart)
    assert [series.y for series in alone.series] == [rows[0].tolist()]


def test_an_image_with_its_class_and_its_error(tmp_path: Path) -> None:
    row = [0.25, 0.75]
    report = report_of(tmp_path / "classes")
    case = report.case(photograph(30, 40), Sample(Path("a.png"), 1), row)
    assert (case.title, case.text) == ("a.png", "of dog, mean error 0.5000")
    assert case.pictures[0].pixels.shape == (30, 40, 3)
    assert report.badness(Sample(Path("a.png"), 1), row) == 0.5
    plain = report_of(tmp_path / "plain", classes=())
    assert plain.case(photograph(30, 40), Sample(Path("a.png"), 0)).text == "an image of the data set"
    assert not plain.colors()


def test_samples_of_each_class_are_the_same_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAMPLES", 3)
    monkeypatch.setattr(module, "STEPS", 2)
    report = report_of(tmp_path)
    samples = list(report.samples())
    assert [each.caption for each in samples] == ["cat", "dog", "cat"]
    assert all(each.pixels.shape == (*TRAINED, 3) for each in samples)
    assert not np.array_equal(samples[0].pixels, samples[2].pixels), "noise of their own"
    again = list(report.samples())
    assert all(np.array_equal(one.pixels, other.pixels) for one, other in zip(samples, again, strict=True))


def test_no_large_image_is_generated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_PATCHES", 1)
    assert not list(report_of(tmp_path).samples())
