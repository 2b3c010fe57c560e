"""The objective of tasks with an answer at every place: how images are read, and the step."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.small_runs import first_batch, labelled, run_of

from fitcli.execution.run import run_job
from fitcli.tasks.dense.dense_objective import DenseObjective
from fitcli.tasks.dense.dense_step import CellLosses
from models.build import build


@dataclass(frozen=True, kw_only=True, slots=True)
class Squares(DenseObjective):
    """The mean square of the values of cells; `counted` is what counts."""

    counted: float
    targets: Any = None

    def losses(self, model: Any, batch: Any) -> CellLosses:
        return lambda part, real, values: real.unpack(values).square().sum(dim=(1, 2, 3))

    def weight(self, batch: Any) -> float:
        return self.counted

    def validate(self, checkpoint: Any) -> Any:
        return None


def test_the_loss_is_divided_by_what_counts(tmp_path: Path) -> None:
    """Where nothing counts, the sum stays as it is: a task gives 0 then."""
    run = run_of(labelled(tmp_path / "data"), tmp_path / "run", task="segment")
    given, batch = first_batch(run)
    assert isinstance(given, DenseObjective)
    losses = []
    for counted in (1.0, 4.0, 0.0):
        own = Squares(mean=given.mean, std=given.std, run=run, counted=counted)
        losses.append(float(run_job(own.job(build(run.config.model, seed=1), batch), run.plan).loss))
    assert losses[0] > 0
    assert losses[1] == pytest.approx(losses[0] / 4)
    assert losses[2] == losses[0]
    assert own.scores(batch, None) is None  # type: ignore[arg-type]
    assert own.validation_settings.plans == {}
    assert given.reading.marked
    assert given.reading.targets == given.targets
    assert given.counts_own_groups
