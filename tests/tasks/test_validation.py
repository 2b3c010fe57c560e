"""Validation images are read without augmentation, and sums are taken over those that can be used."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.small_runs import first_batch, run_of, two_classes

from fitcli.errors import DataError
from fitcli.tasks.context import TrainingRun
from fitcli.tasks.validation import gather_scores, shared_sums, validation_loader


@pytest.fixture
def run(tmp_path: Path) -> TrainingRun:
    return run_of(two_classes(tmp_path / "data"), tmp_path / "run", max_bad_images=3)


def test_every_image_is_read_once_as_it_is(run: TrainingRun) -> None:
    objective, _ = first_batch(run)
    assert objective.reading.rules.augment
    loader = validation_loader(run, run.dataset.validation, objective.reading)
    first, again = (list(loader.fixed()) for _ in range(2))
    assert sum(batch.images for batch in first) == len(run.dataset.validation)
    for one, other in zip(first, again, strict=True):
        assert one.patches.equal(other.patches)


def test_sums_need_a_usable_image(run: TrainingRun) -> None:
    assert shared_sums(run, lambda: {"loss": 3.0, "patches": 2.0}) == {"loss": 3.0, "patches": 2.0}
    with pytest.raises(DataError, match="neither this nor any other validation image can be used"):
        shared_sums(run, lambda: {"loss": 0.0, "patches": 0.0})


def test_one_process_gathers_its_own_scores(run: TrainingRun) -> None:
    assert gather_scores(run.world, run.bad_images, lambda: [1, 2]) == [[1, 2]]
