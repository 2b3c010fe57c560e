"""Validation: the loss of whole images is that of training, and scores are those of `fit evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.detect_models import boxed
from support.small_runs import CPU, first_batch, run_of

from fitcli.data.bad_images import BadImages
from fitcli.data.dataset import Sample
from fitcli.distributed.world import ALONE
from fitcli.errors import DataError
from fitcli.execution.plan import ExecutionPlan
from fitcli.execution.run import run_job
from fitcli.memory.handfuls import TOKENS
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.detect.validation import validate
from fitcli.tasks.encoding.encode import EncodingSettings
from models.build import build


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return boxed(tmp_path_factory.mktemp("data"), images=8)


def prepared(data: Path, folder: Path) -> tuple[Any, Any, Any]:
    run = run_of(data, folder, task="detect", patch=4, augment=False, batch_size=6)
    objective, batch = first_batch(run)
    return run, objective, batch


def checked(run: Any, objective: Any, samples: Any, model: Any) -> Any:
    return validate(
        Checkpoint(model, run.config), samples, CPU, BadImages(), ALONE, EncodingSettings(), objective.loss
    )  # fmt: skip


@pytest.mark.parametrize("handful", [64, 10**6])
def test_the_loss_is_that_of_training(
    data: Path, tmp_path: Path, handful: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TOKENS, ("pass", "cpu"), handful)
    run, objective, batch = prepared(data, tmp_path / "run")
    model = build(run.config.model, seed=1)
    trained = run_job(objective.job(model, batch), ExecutionPlan()).loss
    model.zero_grad()
    model.eval().requires_grad_(False)
    found = checked(run, objective, run.dataset.train, model)
    assert found.loss == pytest.approx(trained.item(), rel=1e-4)
    assert 0 <= found.ap50 <= 1
    assert 0 <= found.threshold <= 1
    assert torch.is_tensor(trained)


def test_images_without_annotations_alone(data: Path, tmp_path: Path) -> None:
    run, objective, _ = prepared(data, tmp_path / "run")
    model = build(run.config.model, seed=1).eval().requires_grad_(False)
    alone = [Sample(run.dataset.train[0].path, None)]
    with pytest.raises(DataError, match="nothing counts in this or any other validation image"):
        checked(run, objective, alone, model)
