"""The objective of a run: what it reads, what it divides by, and how it validates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.detect_models import boxed
from support.small_runs import first_batch, run_of

from fitcli.runs.weights import Checkpoint
from fitcli.tasks.context import TrainingRun
from fitcli.tasks.detect.config import DetectDetails
from fitcli.tasks.detect.loss import CELLS_PER_OBJECT
from fitcli.tasks.detect.objective import DetectionObjective
from models.build import build


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return boxed(tmp_path_factory.mktemp("data"), images=8)


def prepared(data: Path, folder: Path, **settings: Any) -> TrainingRun:
    return run_of(data, folder, **{"task": "detect", "patch": 4, **settings})


def test_the_weight_is_the_number_of_objects(data: Path, tmp_path: Path) -> None:
    objective, batch = first_batch(prepared(data, tmp_path / "run", batch_size=3))
    assert isinstance(objective, DetectionObjective)
    objects = sum(0 if path.stem == "7" else 2 for path in batch.paths)
    cells = 24 * 40 * 3
    assert objective.weight(batch) == pytest.approx(objects + cells / CELLS_PER_OBJECT)
    assert objective.counts_own_groups
    assert objective.scores(batch, None) is None  # type: ignore[arg-type]


def test_what_is_read(data: Path, tmp_path: Path) -> None:
    run = prepared(data, tmp_path / "run", shift_canvas=5)
    objective = first_batch(run)[0]
    assert objective.reading.marked
    assert objective.reading.rules.shift_canvas == 5
    targets: Any = objective.reading.targets
    assert targets.names == ("iron", "wood")
    assert not targets.refuses_background
    skipping: Any = first_batch(prepared(data, tmp_path / "skipping", skip_background=True, background_threshold=0.0))[
        0
    ]
    assert skipping.reading.targets.refuses_background
    details = run.config.details
    assert isinstance(details, DetectDetails)
    assert details.side == 6
    assert objective.loss.half_side == 3 / run.config.model.cell  # type: ignore[attr-defined]


def test_validation_ranks_by_precision_and_decides_the_threshold(data: Path, tmp_path: Path) -> None:
    run = prepared(data, tmp_path / "run")
    objective = first_batch(run)[0]
    model = build(run.config.model, seed=1).eval()
    found = objective.validate(Checkpoint(model, run.config))
    assert set(found.scores) == {"ap", "ap50", "f1", "threshold"}
    assert found.rank == (found.scores["ap50"], -found.loss)
    assert found.headline == ("AP50", f"{found.scores['ap50']:.3f}")
    assert found.decisions == {"threshold": found.scores["threshold"]}
