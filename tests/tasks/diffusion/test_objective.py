"""A denoiser is trained on the data, noise, times and classes that its addresses say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.small_runs import first_batch, run_of, two_classes

from fitcli.execution.plan import ExecutionPlan
from fitcli.execution.run import run_job
from fitcli.noise import group_noise
from fitcli.tasks.diffusion import objective as module
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
    one, two = (kept.embed(part, kept.real(part)) for part in (slice(0, 1), slice(0, 2)))
    assert torch.equal(one, two[:1]), "a group is the same whatever is beside it"


EXECUTIONS = {
    "plain": (ExecutionPlan(), 1),
    "layers": (ExecutionPlan(kind="layers"), 1),
    # The first prediction, the step and its replay embed the noise; the loss and its replay compare with it.
    "recompute": (ExecutionPlan(kind="recompute", handful=2, global_layers="checkpoint"), 5),
    "stream": (ExecutionPlan(kind="stream", handful=2, global_layers="rerun"), 4),
}


@pytest.mark.parametrize("name", EXECUTIONS)
def test_how_often_noise_is_drawn(name: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all groups in memory once; else again for every handful, so that no memory grows with the image."""
    plan, times = EXECUTIONS[name]
    run = run_of(data, tmp_path / "run", task="diffusion", self_condition_rate=1.0)
    objective, batch = first_batch(run)
    drawn: list[torch.Tensor] = []

    def counted(*address: Any) -> torch.Tensor:
        drawn.append(draw(*address))
        return drawn[-1]

    draw = module.draw_noise
    monkeypatch.setattr(module, "draw_noise", counted)
    run_job(objective.job(build(run.config.model), batch, plan), plan)
    count, (_, n, p) = len(batch.groups.number), batch.patches.shape
    assert sum(len(noise) for noise in drawn) == times * count
    assert max(len(noise) for noise in drawn) == (2 if plan.in_handfuls else count)
    first = torch.cat(drawn)[:count]
    each = [
        group_noise(run.settings.seed, "training noise", [number], (n, p), image=image, step=epoch)
        for (epoch, image), groups in zip(batch.showings, batch.groups.counts(), strict=True)
        for number in range(groups)
    ]
    assert torch.equal(first, torch.cat(each)), "the values of the addresses"


def test_validation_draws_once_per_part_of_time(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of(data, tmp_path / "run", task="diffusion")
    objective, batch = first_batch(run)
    assert isinstance(objective, module.DenoisingObjective)
    values, draw = [], module.draw_noise

    def counted(*address: Any) -> torch.Tensor:
        values.append(draw(*address))
        return values[-1]

    monkeypatch.setattr(module, "draw_noise", counted)
    objective._losses(build(run.config.model), batch)
    assert [len(noise) for noise in values] == [len(batch.groups.number)] * module.BUCKETS


def test_weights_of_noise_levels_are_for_training_alone(data: Path, tmp_path: Path) -> None:
    losses, validated = [], []
    for weighting in ("none", "min-snr", "sigmoid"):
        run = run_of(data, tmp_path / weighting, task="diffusion", loss_weighting=weighting)
        objective, batch = first_batch(run)
        assert isinstance(objective, module.DenoisingObjective)
        torch.manual_seed(0)
        model = build(run.config.model)
        losses.append(run_job(objective.job(model, batch), ExecutionPlan()).loss)
        validated.append(objective._losses(model, batch))
    assert len(set(losses)) == 3
    assert validated[0] == validated[1] == validated[2]
