"""Synthetic slides as features are learned with the defaults of `fit train`, and heat maps point at what decides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.learning.feature_slides import scores, train, write_slides
from fitcli.images.open import open_image
from fitcli.images.window import Window

pytest.importorskip("h5py")


def test_marks_lie_where_features_are_shifted(tmp_path: Path) -> None:
    marks = write_slides(tmp_path, 4)
    assert [len(marks[name]) > 0 for name in sorted(marks)] == [False, True, False, True]
    with open_image(tmp_path / "slide-001.h5") as image:
        grid = image.info.features
        assert grid is not None
        length = np.linalg.norm(image.read(Window(0, 0, *image.info.size)), axis=-1)
    corner = np.array([grid.top, grid.left]) / grid.side
    at = (marks["slide-001.h5"] - corner).astype(int)
    assert length[at[:, 0], at[:, 1]].mean() > 1.2 * np.nanmedian(length)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_plain_training_finds_the_marks(tmp_path: Path) -> None:
    marks = write_slides(tmp_path / "data", 80)
    train(tmp_path / "data", tmp_path / "run")
    found = scores(tmp_path / "data", tmp_path / "run", marks)
    assert found["right"] >= 0.95
    assert found["pointing"] >= 0.8
