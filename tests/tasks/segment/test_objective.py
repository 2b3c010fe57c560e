"""The objective of a run: what it reads, what it divides by, and how it validates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.small_runs import first_batch, labelled, run_of

from fitcli.runs.weights import Checkpoint
from fitcli.tasks.context import TrainingRun
from fitcli.tasks.encoding.encode import EncodingSettings
from fitcli.tasks.segment.loss import CellLoss
from fitcli.tasks.segment.objective import SegmentationObjective
from fitcli.tasks.segment.validation import mean_iou, validate
from models.build import build


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of 3 x 2 groups, the last of which hold padding; of 24 x 36 pixels 24 have no label."""
    return labelled(tmp_path_factory.mktemp("data"), (24, 36), unlabelled=2)


def prepared(data: Path, folder: Path, **settings: Any) -> TrainingRun:
    return run_of(data, folder, **{"task": "segment", "patch": 4, "classes": "0=dark,1=light", **settings})


def objective_of(run: TrainingRun) -> tuple[SegmentationObjective, Any]:
    objective, batch = first_batch(run)
    assert isinstance(objective, SegmentationObjective)
    return objective, batch


@pytest.mark.parametrize("kind", ["none", "root", "inverse"])
def test_the_weight_is_the_number_of_labelled_pixels(data: Path, tmp_path: Path, kind: str) -> None:
    """Padding and pixels without a label do not count; with weights of classes, each counts by its class."""
    run = prepared(data, tmp_path / "run", class_weights=kind, batch_size=4)
    objective, batch = objective_of(run)
    with_labels = sum(path.stem not in ("10", "11") for path in batch.paths)
    weights = run.config.details.weights  # type: ignore[attr-defined]
    assert (objective.loss.weights is None) == (kind == "none")
    expected = 24 * (18 * weights[0] + 17 * weights[1]) * with_labels
    assert objective.weight(batch) == pytest.approx(expected)
    assert objective.counts_own_groups
    assert objective.scores(batch, None) is None  # type: ignore[arg-type]


def test_missing_pixels_are_marked_and_background_is_left_out_on_request(data: Path, tmp_path: Path) -> None:
    reading = objective_of(prepared(data, tmp_path / "run", shift_canvas=5))[0].reading
    assert reading.marked
    assert (reading.rules.shift_canvas, reading.rules.background) == (5, None)
    assert (reading.targets.patch, reading.targets.group) == (reading.layout.patch, reading.layout.group)  # type: ignore[attr-defined]
    skipping = objective_of(prepared(data, tmp_path / "skipping", skip_background=True))[0].reading
    assert skipping.rules.background is not None


def test_the_loss_has_the_options_of_the_run(data: Path, tmp_path: Path) -> None:
    loss = objective_of(prepared(data, tmp_path / "run", focal=1.5, class_weights="inverse"))[0].loss
    assert loss.focal == 1.5
    assert loss.weights is not None
    # Of 35 labelled columns, 18 are dark: both classes have half of the weight.
    assert float(loss.weights[0] * 18) == pytest.approx(float(loss.weights[1] * 17))


def test_validation_names_the_classes_and_ranks_by_the_mean(data: Path, tmp_path: Path) -> None:
    run = prepared(data, tmp_path / "run", class_weights="inverse")
    objective, _ = objective_of(run)
    model = build(run.config.model, seed=1).eval()
    found = objective.validate(Checkpoint(model, run.config))  # type: ignore[arg-type]
    sums = validate(
        Checkpoint(model, run.config), run.dataset.validation, run.runtime, run.bad_images, run.world,  # type: ignore[arg-type]
        EncodingSettings(), CellLoss(objective.loss.weights),
    )  # fmt: skip
    mean, each = mean_iou(sums.confusion)
    assert found.loss == pytest.approx(sums.loss / sums.weight)
    assert found.scores == {
        "mean_iou": mean,
        "accuracy": pytest.approx(sums.confusion.trace() / (24 * 35 * 2)),
        "iou_dark": each[0],
        "iou_light": each[1],
    }
    assert found.rank == (mean, -found.loss)
    assert found.headline == ("mean IoU", f"{mean:.3f}")
