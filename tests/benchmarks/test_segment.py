"""The comparison on keyed scenes reads what it wrote."""

from __future__ import annotations

from argparse import ArgumentTypeError
from pathlib import Path

import numpy as np
import pytest

from benchmarks.learning import segment
from benchmarks.support.unet import TILE
from fitcli.demo import keyed_dataset
from fitcli.demo.keyed_scenes import CLASSES, UNLABELLED


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set of six scenes, and test scenes of 300 pixels."""
    monkeypatch.setattr(keyed_dataset, "SCENES", 6)
    monkeypatch.setattr(keyed_dataset, "LARGE_SIDE", 400)
    segment.make_data(tmp_path, [300])
    return tmp_path


def test_the_score_of_a_model_that_sees_nothing(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segment.make_data(work, [300])  # writes nothing again
    scenes = segment.read_scenes(work / "data/scenes.csv", "train")
    assert sorted(each.pixels.shape[1] for each in scenes) == [128, 256, 384]
    monkeypatch.setattr(segment, "BATCH_PIXELS", TILE * TILE)
    model, trained = segment.train_unet(scenes, 1e-4, seed=0)
    assert trained["steps"] >= 1
    scores = segment.score_unet(model, work / "300-swapped.csv")
    assert scores["labelled_pixels"] == 2 * (300 * 300 - 48 * 48)
    row = segment.result_row("U-Net", "swapped", 300, scores, 1.0)
    assert set(row["iou"]) == set(CLASSES)


def test_tiles_and_their_labels_are_turned_alike(work: Path) -> None:
    scenes = segment.read_scenes(work / "data/scenes.csv", "train")
    rng = np.random.default_rng(0)
    on_key = []
    for _ in range(12):
        batch = segment.draw_batch(scenes, rng)
        assert batch.pixels.shape[:3] == batch.labels.shape
        assert batch.labels.size == segment.BATCH_PIXELS
        # The flat key has no label.
        red, green, blue = (batch.pixels[..., channel].astype(int) for channel in range(3))
        on_key += batch.labels[(np.abs(red - blue) > 150) & (green < 70)].tolist()
    assert len(on_key) > 1000
    assert np.mean(np.array(on_key) == UNLABELLED) > 0.99


def test_runs_are_given_by_kind() -> None:
    assert segment.run_of_kind("swapped=a=b") == ("swapped", Path("a=b"))
    for text in ("swapped", "other=run", "labels="):
        with pytest.raises(ArgumentTypeError, match="is not KIND=RUN"):
            segment.run_of_kind(text)
