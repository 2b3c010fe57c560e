"""A segmentation is shown with its labels, its map, and the places where they differ."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.dense_models import NAMES, checkpoint, labels_of, logits_of_pixels, picture, save_labels
from support.pictures import save

from fitcli.annotations.class_table import IGNORED
from fitcli.data.dataset import Sample
from fitcli.device.runtime import choose_runtime
from fitcli.images.open import open_image
from fitcli.reports.parts import Chart, CountMatrix
from fitcli.tasks.encoding.encode import EncodingSettings
from fitcli.tasks.segment.report import UNKNOWN, WRONG, SegmentationReport
from fitcli.tasks.segment.segment_scores import ImageScores

SIZE = (40, 50)


@pytest.fixture(scope="module")
def report() -> SegmentationReport:
    return SegmentationReport(checkpoint(), choose_runtime("cpu", "fp32"), EncodingSettings(background=None))


def test_an_image_beside_its_labels_and_the_wrong_places(report: SegmentationReport, tmp_path: Path) -> None:
    pixels, truth = picture(SIZE), labels_of(SIZE)
    sample = Sample(save(tmp_path / "a.png", pixels), save_labels(tmp_path / "l.png", truth))
    with open_image(sample.path) as image:
        case = report.case(image, sample)
    found, labelled = logits_of_pixels(report.checkpoint, pixels).argmax(axis=-1), truth != IGNORED
    wrong = labelled & (found != truth)
    assert 0.1 < wrong.sum() / labelled.sum() < 0.95, "both kinds of places"
    assert case.text == f"{wrong.sum() / labelled.sum():.1%} of the labelled places are wrong"
    shown = {each.caption: each.pixels for each in case.pictures}
    assert list(shown) == ["image", "truth", "found", "wrong places"]
    assert np.array_equal(shown["image"], pixels)
    colors = np.array([color for color, _ in report.colors()])
    assert np.array_equal(shown["found"], colors[found])
    assert np.array_equal(shown["truth"][labelled], colors[truth[labelled]])
    assert (shown["truth"][~labelled] == UNKNOWN).all()
    assert np.array_equal((shown["wrong places"] == WRONG).all(axis=-1), wrong)


def test_an_image_without_labels_is_shown_with_its_map(report: SegmentationReport, tmp_path: Path) -> None:
    sample = Sample(save(tmp_path / "a.png", picture(SIZE)), None)
    with open_image(sample.path) as image:
        case = report.case(image, sample)
    assert [each.caption for each in case.pictures] == ["image", "found"]


def test_pixels_and_dice_of_all_images(report: SegmentationReport) -> None:
    truth = labels_of(SIZE, ignored=0)
    answers = [truth, np.where(truth == 0, 1, truth), np.zeros_like(truth)]
    rows = [ImageScores.of([(truth, answer)], len(NAMES), 2) for answer in answers]
    scored = [(Sample(Path("a"), None), row) for row in rows]
    badness = [report.badness(*each) for each in scored]
    assert badness[0] == 0
    assert badness == sorted(badness)
    matrix, chart = report.sections(scored)[0].parts
    assert isinstance(matrix, CountMatrix)
    assert isinstance(chart, Chart)
    counts = sum(np.array([[((truth == t) & (a == p)).sum() for p in range(3)] for t in range(3)]) for a in answers)
    assert np.array_equal(np.array(matrix.counts)[:, :3], counts)
    assert chart.series[0].y == pytest.approx(sorted(1 - bad for bad in badness))


def test_an_image_without_a_label_is_never_the_worst(report: SegmentationReport) -> None:
    truth = np.full(SIZE, IGNORED, np.uint8)
    row = ImageScores.of([(truth, np.zeros_like(truth))], len(NAMES), 2)
    assert report.badness(Sample(Path("a"), None), row) == -1
    assert not report.sections([(Sample(Path("a"), None), row)])[0].parts[1].series  # type: ignore[union-attr]


def test_every_class_has_a_colour_and_a_name(report: SegmentationReport) -> None:
    colors = report.colors()
    assert [name for _, name in colors[: len(NAMES)]] == list(NAMES)
    assert len({color for color, _ in colors}) == len(colors)
    assert not list(report.samples())
