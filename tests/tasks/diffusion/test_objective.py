"""A denoiser is trained on the data, noise, times and classes that its addresses say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.small_runs import first_batch, run_of, two_classes

from fitcli.tasks.diffusion.config import DiffusionConfig
from fitcli.tasks.registry import find_task
from models.build import build
from models.config import DenoiserConfig


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_classes(tmp_path_factory.mktemp("data"), (24, 16), 4)


def test_what_a_denoiser_sees(data: Path, tmp_path: Path) -> None:
    run = run_of(data, tmp_path / "run", task="diffusion", class_dropout=1.0)
    objective, batch = first_batch(run)
    diffusion = run.config.details
    assert isinstance(diffusion, DiffusionConfig)
    assert diffusion.size == (24, 16)
    assert diffusion.patch == 4
    assert isinstance(run.config.model, DenoiserConfig)
    assert run.config.model.condition_width == 2
    dropped: Any = objective.job(build(run.config.model), batch)
    kept_run = replace(run, config=replace(run.config, details=replace(diffusion, class_dropout=0.0)))
    kept: Any = find_task("diffusion").objective(kept_run).job(build(run.config.model), batch)
    with torch.no_grad():
        assert (dropped.context()[0, 1] == dropped.context()[1, 1]).all(), "no class for anyone"
        assert (dropped.context()[:, 0] == kept.context()[:, 0]).all(), "the same times"
    embedded = kept.embed(slice(0, 1))
    assert torch.equal(embedded, kept.embed(slice(0, 2))[:1]), "a group is the same whatever is beside it"
