"""The scorer of classifiers: probabilities of each image, and scores over all images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fitcli.data.dataset import Sample, load_dataset
from fitcli.device.runtime import choose_runtime
from fitcli.images.open import open_image
from fitcli.tasks.classify.classify_image import classify_image
from fitcli.tasks.classify.scores import classification_scores
from fitcli.tasks.classify.task import TASK as CLASSIFY
from fitcli.tasks.encoding.encode import EncodingSettings
from fitcli.tasks.load import load_run

CPU = choose_runtime("cpu", "fp32")


def test_images_are_scored_by_their_probabilities(trained: Path, dataset: Path) -> None:
    checkpoint = load_run(trained, CPU, CLASSIFY)
    scorer = CLASSIFY.scorer(checkpoint, CPU, EncodingSettings(), whole=True)
    assert scorer.depends_on == ()
    samples = load_dataset(dataset).validation
    scored: list[tuple[Sample, list[float]]] = []
    for number, sample in enumerate(samples):
        with open_image(sample.path) as image:
            scored.append((sample, scorer.score(image, sample, number)))
            assert scored[-1][1] == classify_image(checkpoint, image, CPU).probabilities.tolist()
    result = scorer.summarize(scored, "val", failed=1)
    labels = np.array([sample.target for sample in samples])
    expected = classification_scores(np.array([row for _, row in scored]), labels)
    assert {name: result.scores[name] for name in expected} == expected
    assert result.columns == ("path", "label", "predicted", "blue", "red")
    assert [row[1] for row in result.rows] == [("blue", "red")[label] for label in labels]
    assert float(str(result.rows[0][3])) == pytest.approx(scored[0][1][0], abs=1e-6)
