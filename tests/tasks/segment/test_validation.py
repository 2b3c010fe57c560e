"""Validation compares whole images with their labels, pixel by pixel, and gives the scores of `fit evaluate`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.dense_models import (
    GROUP_PIXELS,
    NAMES,
    checkpoint,
    labels_of,
    logits_of_pixels,
    picture,
    save_labels,
)
from support.pictures import save

from fitcli.annotations.class_table import IGNORED
from fitcli.data.bad_images import BadImages, TooManyBadImages
from fitcli.data.dataset import Sample
from fitcli.device.runtime import choose_runtime
from fitcli.distributed.world import ALONE, World
from fitcli.errors import DataError
from fitcli.images.open import open_image
from fitcli.patches.preprocessing import CURRENT_RULES
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.encoding.encode import EncodingSettings
from fitcli.tasks.segment.loss import CellLoss
from fitcli.tasks.segment.scorer import SegmentationScorer
from fitcli.tasks.segment.validation import Sums, mean_iou, validate
from models.dense import FITDense

CPU = choose_runtime("cpu", "fp32")
ALL = EncodingSettings(background=None)
SIZES = [(40, 50), (7, 30), (24, 24)]
WEIGHTS = torch.tensor([1.0, 2.5, 0.5])
EMPTY = 2
"""Value of the pixels of groups that are left out as background."""


@pytest.fixture(scope="module")
def model() -> Checkpoint[FITDense]:
    return checkpoint()


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    """Images with labels, and one without."""
    made = []
    for number, size in enumerate(SIZES):
        image = save(tmp_path / f"{number}.png", picture(size, number))
        made.append(Sample(image, save_labels(tmp_path / f"labels {number}.png", labels_of(size, number))))
    return [made[0], Sample(save(tmp_path / "alone.png", picture((9, 9))), None), *made[1:]]


def sums(
    model: Checkpoint[FITDense],
    samples: list[Sample],
    loss: CellLoss | None = None,
    settings: EncodingSettings = ALL,
    allowed: int = 0,
    world: World = ALONE,
) -> Sums:
    return validate(model, samples, CPU, BadImages(allowed), world, settings, loss or CellLoss())


def equal(one: Sums, other: Sums) -> bool:
    return one[:2] == other[:2] and np.array_equal(one.confusion, other.confusion)


@pytest.mark.parametrize("loss", [CellLoss(), CellLoss(WEIGHTS), CellLoss(WEIGHTS, 2.0)], ids=["", "weights", "focal"])
def test_sums_are_those_of_the_pixels(model: Checkpoint[FITDense], samples: list[Sample], loss: CellLoss) -> None:
    confusion, total, weight = np.zeros((3, 4), int), 0.0, 0.0
    table = np.ones(3) if loss.weights is None else loss.weights.double().numpy()
    for number, size in enumerate(SIZES):
        logits, truth = logits_of_pixels(model, picture(size, number)), labels_of(size, number)
        logs = torch.tensor(logits).log_softmax(dim=-1).numpy()
        for y, x in np.argwhere(truth != IGNORED):
            true = truth[y, x]
            confusion[true, logits[y, x].argmax()] += 1
            total -= table[true] * logs[y, x, true] * (1 - np.exp(logs[y, x, true])) ** loss.focal
            weight += table[true]
    result = sums(model, samples, loss)
    np.testing.assert_array_equal(result.confusion, confusion)
    assert result.loss == pytest.approx(total, rel=1e-6)
    assert result.weight == pytest.approx(weight, rel=1e-6)


def evaluated(model: Checkpoint[FITDense], samples: list[Sample], settings: EncodingSettings) -> dict[str, Any]:
    scorer, scored = SegmentationScorer(model, CPU, settings), []
    for number, sample in enumerate(samples):
        if sample.target is not None:
            with open_image(sample.path) as image:
                scored.append((sample, scorer.score(image, sample, number)))
    return scorer.summarize(scored, "val", 0).scores


def test_scores_are_those_of_evaluate(model: Checkpoint[FITDense], samples: list[Sample]) -> None:
    scores = evaluated(model, samples, ALL)
    mean, each = mean_iou(sums(model, samples).confusion)
    assert mean == pytest.approx(scores["mean_iou"], rel=1e-12)
    assert each == pytest.approx([scores["per_class"][name]["iou"] for name in NAMES], rel=1e-12)


def test_labels_in_groups_that_are_left_out_count_as_missed(model: Checkpoint[FITDense], tmp_path: Path) -> None:
    """Otherwise leaving out everything would be the best model."""
    size = (2 * GROUP_PIXELS, 3 * GROUP_PIXELS)
    pixels = np.full((*size, 3), EMPTY, np.uint8)
    pixels[:GROUP_PIXELS, GROUP_PIXELS:] = picture((GROUP_PIXELS, 2 * GROUP_PIXELS))
    truth = labels_of(size)
    sample = Sample(save(tmp_path / "a.png", pixels), save_labels(tmp_path / "labels.png", truth))
    settings = EncodingSettings(background=0.02)
    result, scores = sums(model, [sample], settings=settings), evaluated(model, [sample], settings)
    left_out = (pixels == EMPTY).all(axis=-1) & (truth != IGNORED)
    assert result.confusion[:, -1].tolist() == [int((truth[left_out] == k).sum()) for k in range(3)]
    assert result.confusion[:, -1].tolist() == scores["not_looked_at"]
    assert result.confusion[:, :-1].tolist() == scores["confusion"]
    assert mean_iou(result.confusion)[0] == pytest.approx(scores["mean_iou"], rel=1e-12)


def test_missing_pixels_count_in_neither(tmp_path: Path) -> None:
    preprocessing = replace(
        checkpoint().config.preprocessing, dtype="float32", rules=CURRENT_RULES, limits=(0.0, 255.0)
    )
    model, size = checkpoint(preprocessing), (30, 40)
    pixels, truth = picture(size).astype(np.float32), labels_of(size)
    holes = np.random.default_rng(4).random(size) < 0.2
    pixels[holes, 1] = np.nan
    sample = Sample(save(tmp_path / "a.tif", pixels), save_labels(tmp_path / "labels.png", truth))
    result, scores = sums(model, [sample]), evaluated(model, [sample], ALL)
    assert result.confusion.sum() == scores["labelled_pixels"] == int((~holes & (truth != IGNORED)).sum())
    assert result.confusion[:, :-1].tolist() == scores["confusion"]


@dataclass(frozen=True, slots=True)
class Two(World):
    """Two processes, one after the other: the first to be asked leaves its result and ends."""

    results: dict[int, Any] = None  # type: ignore[assignment]

    def gather_results(self, act: Callable[[], Any]) -> list[Any]:
        self.results[self.rank] = act()
        if len(self.results) < 2:
            raise InterruptedError
        return [self.results[rank] for rank in range(2)]


@pytest.mark.parametrize("last", [0, 1])
def test_two_processes_get_the_sums_of_one(model: Checkpoint[FITDense], samples: list[Sample], last: int) -> None:
    expected, results = sums(model, samples), dict[int, Any]()
    with pytest.raises(InterruptedError):
        sums(model, samples, world=Two(rank=1 - last, size=2, results=results))
    result = sums(model, samples, world=Two(rank=last, size=2, results=results))
    assert equal(result, expected)
    assert [len(each["scores"]) for each in (results[0], results[1])] == [2, 1]


def test_bad_images_are_left_out_up_to_a_limit(
    model: Checkpoint[FITDense], samples: list[Sample], tmp_path: Path
) -> None:
    """An image, or the labels of one, that cannot be read."""
    expected, labels = sums(model, samples), Path(str(samples[0].target))
    (tmp_path / "bad.png").write_bytes(b"no image")
    save_labels(tmp_path / "other size.png", labels_of((41, 50)))
    bad = [
        Sample(tmp_path / "bad.png", labels),
        Sample(samples[0].path, tmp_path / "bad.png"),
        Sample(samples[0].path, tmp_path / "other size.png"),
    ]
    for each in bad:
        assert equal(sums(model, [each, *samples], allowed=1), expected)
        with pytest.raises(TooManyBadImages):
            sums(model, [each, *samples])


def test_some_pixel_must_have_a_label(model: Checkpoint[FITDense], tmp_path: Path) -> None:
    labels = save_labels(tmp_path / "labels.png", np.full((9, 9), IGNORED, np.uint8))
    image = save(tmp_path / "a.png", picture((9, 9)))
    for samples in ([Sample(image, None)], [Sample(image, labels)]):
        with pytest.raises(DataError, match=r"a\.png: neither .* validation image has a labelled pixel"):
            sums(model, samples)


def test_classes_without_a_pixel_have_no_iou() -> None:
    confusion = np.array([[6, 2, 0, 0], [0, 0, 0, 0], [1, 0, 2, 1]])
    mean, each = mean_iou(confusion)
    assert each == [6 / 9, None, 2 / 4]
    assert mean == pytest.approx((6 / 9 + 2 / 4) / 2)
    assert mean_iou(np.zeros((3, 4), int)) == (0, [None] * 3)
