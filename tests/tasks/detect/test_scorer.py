"""The scorer of `fit evaluate`: matches of images, scores over all."""

from __future__ import annotations

from pathlib import Path

from support.detect_models import NAMES, boxed, checkpoint

from fitcli.annotations.objects.object_set import ObjectSource
from fitcli.data.dataset import Sample
from fitcli.device.runtime import choose_runtime
from fitcli.images.open import open_image
from fitcli.tasks.detect.detect_image import detect_image
from fitcli.tasks.detect.detection_scores import ImageMatches
from fitcli.tasks.detect.scorer import DetectionScorer
from fitcli.tasks.encoding.encode import EncodingSettings


def test_every_found_object_is_scored(tmp_path: Path) -> None:
    data, model, runtime = boxed(tmp_path, images=2), checkpoint(), choose_runtime("cpu", "fp32")
    scorer = DetectionScorer(model, runtime, EncodingSettings())
    sample = Sample(tmp_path / "images/0.png", ObjectSource(data, "images/0.png"))
    with open_image(sample.path) as image:
        row = scorer.score(image, sample, 0)
        found = detect_image(model, image, runtime).found
    matches = ImageMatches.of_row(row).matches
    assert len(matches.scores) == len(found) > 0
    assert matches.true_numbers.tolist() == [0, 1]
    result = scorer.summarize([(sample, row)], "val", 0)
    assert result.task == "detect"
    assert set(result.scores["per_class"]) == set(NAMES)
    assert scorer.depends_on == (False,)
    assert result.scores["one_per_place"] is False


def test_a_choice_of_one_per_place_is_scored(tmp_path: Path) -> None:
    data, runtime = boxed(tmp_path, images=2), choose_runtime("cpu", "fp32")
    sample, found = Sample(tmp_path / "images/0.png", ObjectSource(data, "images/0.png")), {}
    for one in (False, True):
        scorer = DetectionScorer(checkpoint().chosen({"one_per_place": one}), runtime, EncodingSettings())
        assert scorer.depends_on == (one,)
        with open_image(sample.path) as image:
            row = scorer.score(image, sample, 0)
        assert scorer.summarize([(sample, row)], "val", 0).scores["one_per_place"] is one
        found[one] = len(ImageMatches.of_row(row).matches.scores)
    assert 0 < found[True] < found[False]
