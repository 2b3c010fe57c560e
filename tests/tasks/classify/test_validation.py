"""Validation gives the scores of `fit classify`, leaves out bad images, and weighs every class alike on request."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from fitcli.data.bad_images import BadImages, TooManyBadImages
from fitcli.data.dataset import Sample, load_dataset
from fitcli.device.runtime import choose_runtime
from fitcli.distributed.world import ALONE
from fitcli.errors import DataError
from fitcli.images.open import open_image
from fitcli.runs.targets import Target
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.classify.classify_image import classify_image
from fitcli.tasks.classify.task import TASK as CLASSIFY
from fitcli.tasks.classify.validation import Scores, named_accuracies, validate
from fitcli.tasks.encoding.encode import EncodingSettings
from fitcli.tasks.load import load_run
from models.encoder import FITClassifier

CPU = choose_runtime("cpu", "fp32")


@pytest.fixture
def checkpoint(trained: Path) -> Checkpoint[FITClassifier]:
    return load_run(trained, CPU, CLASSIFY)


def scores(checkpoint: Checkpoint[FITClassifier], samples: list[Sample], allowed: int = 0) -> Scores:
    return validate(checkpoint, samples, CPU, BadImages(allowed), ALONE, EncodingSettings())


def test_scores_are_those_of_the_classified_images(checkpoint: Checkpoint[FITClassifier], dataset: Path) -> None:
    data = load_dataset(dataset)
    # Classes of different sizes, some of them wrong on purpose.
    samples = [*data.train[:5], *(Sample(sample.path, 1 - sample.target) for sample in data.validation)]
    probabilities = []
    for sample in samples:
        with open_image(sample.path) as image:
            probabilities.append(classify_image(checkpoint, image, CPU).probabilities)
    predicted, labels = np.argmax(probabilities, axis=1), np.array([sample.target for sample in samples])
    result = scores(checkpoint, samples)
    assert result.named["accuracy"] == pytest.approx((predicted == labels).mean())
    recalls = [(predicted == labels)[labels == label].mean() for label in np.unique(labels)]
    assert result.named["balanced_accuracy"] == pytest.approx(np.mean(recalls))
    likelihood = np.array(probabilities)[np.arange(len(labels)), labels]
    assert result.loss == pytest.approx(-np.log(likelihood).mean())
    assert result.headline() == ("accuracy", f"{result.named['accuracy']:.1%}, loss {result.loss:.3f}")
    assert list(result.named) == ["accuracy", "balanced_accuracy"]


def test_models_are_ranked_by_the_loss_and_in_earlier_runs_by_accuracy() -> None:
    lucky, sound = (Scores(loss, {"accuracy": accuracy}) for loss, accuracy in ((1.5, 1.0), (0.2, 0.9)))
    assert sound.rank("loss") > lucky.rank("loss")
    assert lucky.rank("accuracy") > sound.rank("accuracy")
    assert Scores(0.1, {"accuracy": 0.9}).rank("accuracy") > sound.rank("accuracy")


def test_bad_images_are_left_out_up_to_a_limit(
    checkpoint: Checkpoint[FITClassifier], dataset: Path, tmp_path: Path
) -> None:
    samples = list(load_dataset(shutil.copytree(dataset, tmp_path / "data")).validation)
    bad = Sample(tmp_path / "bad.png", 0)
    bad.path.write_bytes(b"no image")
    found, expected = scores(checkpoint, [bad, *samples], allowed=1), scores(checkpoint, samples)
    assert found._replace(losses={}) == expected._replace(losses={})
    assert found.losses == {number + 1: loss for number, loss in expected.losses.items()}
    with pytest.raises(TooManyBadImages, match=r"bad\.png"):
        scores(checkpoint, [bad, *samples])
    with pytest.raises(DataError, match="neither this nor any other validation image can be used"):
        scores(checkpoint, [bad], allowed=1)


def test_accuracies_of_several_targets_have_names_and_a_mean() -> None:
    targets = (Target("kind", "single-label", ("cat", "dog")), Target("marks", "multi-label", ("a",)))
    assert named_accuracies(targets, [0.5, 1.0]) == {"accuracy": 0.75, "accuracy_kind": 0.5, "accuracy_marks": 1.0}
