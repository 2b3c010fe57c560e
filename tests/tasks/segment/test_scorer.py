"""The scorer counts the pixels of an image as a loop over them does, whatever the handfuls."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.dense_models import CELL, GROUP, NAMES, checkpoint, labels_of, logits_of_pixels, picture, save_labels
from support.pictures import save

from fitcli.annotations.class_table import IGNORED
from fitcli.data.dataset import Sample
from fitcli.device.runtime import choose_runtime
from fitcli.errors import ImageError
from fitcli.images.open import open_image
from fitcli.memory.handfuls import TOKENS
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.encoding.encode import EncodingSettings
from fitcli.tasks.segment.boundary import count_boundaries
from fitcli.tasks.segment.scorer import SegmentationScorer
from fitcli.tasks.segment.segment_scores import ImageScores
from models.dense import FITDense

CPU = choose_runtime("cpu", "fp32")
SIZE = (61, 50)


@pytest.fixture(scope="module")
def model() -> Checkpoint[FITDense]:
    return checkpoint()


def score(model: Checkpoint[FITDense], sample: Sample) -> list[float]:
    with open_image(sample.path) as image:
        return SegmentationScorer(model, CPU, EncodingSettings(background=None)).score(image, sample, 0)


@pytest.mark.parametrize("handful", [1, 3, 1000])
def test_counts_are_those_of_a_loop_over_pixels(
    model: Checkpoint[FITDense], tmp_path: Path, handful: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TOKENS, ("pass", "cpu"), handful * GROUP**2)
    truth, pixels = labels_of(SIZE), picture(SIZE)
    sample = Sample(save(tmp_path / "a.png", pixels), save_labels(tmp_path / "labels.png", truth))
    found = logits_of_pixels(model, pixels).argmax(axis=-1).astype(np.uint8)
    counts = ImageScores.read(score(model, sample), len(NAMES))
    expected = np.zeros((3, 4), int)
    for y, x in np.argwhere(truth != IGNORED):
        expected[truth[y, x], found[y, x]] += 1
    np.testing.assert_array_equal(counts.confusion, expected)
    np.testing.assert_array_equal(counts.boundaries, count_boundaries([(truth, found)], 3, 2 * CELL))


def test_the_tolerance_is_two_cells(model: Checkpoint[FITDense]) -> None:
    """Scores that were kept are those of this tolerance alone."""
    scorer = SegmentationScorer(model, CPU, EncodingSettings())
    assert scorer.tolerance == 2 * CELL
    assert scorer.depends_on == (2 * CELL,)


def test_a_summary_names_the_classes_and_the_tolerance(model: Checkpoint[FITDense], tmp_path: Path) -> None:
    truth = labels_of(SIZE)
    sample = Sample(save(tmp_path / "a.png", picture(SIZE)), save_labels(tmp_path / "labels.png", truth))
    scorer = SegmentationScorer(model, CPU, EncodingSettings(background=None))
    result = scorer.summarize([(sample, score(model, sample))], "test", failed=2)
    assert (result.task, result.split, result.images, result.failed) == ("segment", "test", 1, 2)
    assert result.scores["classes"] == list(NAMES)
    assert result.scores["boundary_tolerance"] == 2 * CELL
    assert result.scores["labelled_pixels"] == int((truth != IGNORED).sum())


def test_labels_that_do_not_fit_are_the_error_of_their_image(model: Checkpoint[FITDense], tmp_path: Path) -> None:
    image = save(tmp_path / "a.png", picture(SIZE))
    other = save_labels(tmp_path / "other.png", labels_of((60, 50)))
    unknown = save(tmp_path / "unknown.png", np.full((*SIZE, 1), 99, np.uint8))
    for labels, message in ((other, "60"), (unknown, "holds values that no class has: 99")):
        with pytest.raises(ImageError, match=message):
            score(model, Sample(image, labels))


def test_an_image_that_breaks_half_way_is_an_error_and_no_hang(
    model: Checkpoint[FITDense], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that counts waits for strips that never come."""
    sample = Sample(save(tmp_path / "a.tif", picture(SIZE)), save_labels(tmp_path / "labels.png", labels_of(SIZE)))
    monkeypatch.setitem(TOKENS, ("pass", "cpu"), 2 * GROUP**2)
    with open_image(sample.path) as image:
        real, calls = image.read, list[int]()

        def broken(window: object, level: int = 0) -> np.ndarray:  # type: ignore[type-arg]
            calls.append(1)
            if len(calls) > 12:
                raise ImageError(sample.path, "chunk 7 is damaged")
            return real(window, level)  # type: ignore[arg-type]

        monkeypatch.setattr(image, "read", broken)
        scorer = SegmentationScorer(replace(model), CPU, EncodingSettings(background=None))
        with pytest.raises(ImageError, match="chunk 7"):
            scorer.score(image, sample, 0)
