"""An autoregressive model is shown by the bits of the images, and by images that it draws."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.decoders import CLASSES, checkpoint

from fitcli.data.dataset import Sample
from fitcli.device.runtime import choose_runtime
from fitcli.images.array_image import ArrayReader
from fitcli.reports.parts import Chart, DataTable
from fitcli.tasks.autoregressive import report as module
from fitcli.tasks.autoregressive.report import LikelihoodReport
from fitcli.tasks.encoding.encode import EncodingSettings

SIZE = (8, 6)


def report_of(**changes: Any) -> LikelihoodReport:
    return LikelihoodReport(checkpoint(**changes), choose_runtime("cpu", "fp32"), EncodingSettings())


def test_how_the_bits_are_spread() -> None:
    bits = np.random.default_rng(0).uniform(1, 5, 40)
    scored = [(Sample(Path("a"), 0), [float(each) * 48, 48.0]) for each in bits]
    table, chart = report_of(levels=16).sections(scored)[0].parts
    assert isinstance(table, DataTable)
    assert isinstance(chart, Chart)
    assert table.rows[0] == ("best image", f"{bits.min():.4f}")
    assert table.rows[2] == ("median", f"{np.median(bits):.4f}")
    assert table.rows[4:] == [("worst image", f"{bits.max():.4f}"), ("a guess among all levels", "4.0000")]
    (series,) = chart.series
    assert sum(series.y) == len(bits)
    assert chart.x_range == pytest.approx((bits.min(), bits.max()))


def test_an_image_with_its_class_and_its_bits() -> None:
    image, row = ArrayReader(np.full((*SIZE, 1), 90, np.uint8)), [96.0, 48.0]
    report = report_of(classes=CLASSES)
    case = report.case(image, Sample(Path("a.png"), 1), row)
    assert (case.title, case.text) == ("a.png", "of cat, 2.0000 bits per dimension")
    assert report.badness(Sample(Path("a.png"), 1), row) == 2
    assert case.pictures[0].pixels.shape == (*SIZE, 3)
    assert (case.pictures[0].pixels == 90).all()
    assert report_of().case(image, Sample(Path("a.png"), 0)).text == "an image of the data set"
    assert not report.colors()


def test_samples_of_each_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAMPLES", 4)
    samples = list(report_of(classes=CLASSES).samples())
    assert [each.caption for each in samples] == ["bird", "cat", "dog", "bird"]
    assert all(each.pixels.shape == (*SIZE, 3) for each in samples)
    assert [each.caption for each in report_of().samples()] == [f"sample {n}" for n in range(1, 5)]


def test_no_large_image_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_VALUES", SIZE[0] * SIZE[1] - 1)
    assert not list(report_of().samples())
