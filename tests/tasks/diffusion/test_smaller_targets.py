"""A smaller version is read where the pixels are, turned with them, and has noise that follows from its address."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.small_runs import first_batch, run_of, two_classes

from fitcli.data.loader import Loader
from fitcli.execution.plan import ExecutionPlan
from fitcli.execution.run import run_job
from fitcli.patches.cutting import to_unit
from fitcli.tasks.diffusion.config import diffusion_of
from fitcli.tasks.diffusion.parameterization import to_data
from fitcli.tasks.diffusion.smaller_image import enlarge_windows
from fitcli.tasks.diffusion.smaller_targets import SmallerImages
from models.build import build


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_classes(tmp_path_factory.mktemp("data"), (96, 80), 4)


def enlarging_run(data: Path, folder: Path, **settings: Any) -> Any:
    return run_of(data, folder, task="diffusion", **{"enlarge": 4, "size": 32, **settings})


@pytest.mark.parametrize("augment", [False, True])
def test_the_enlarged_version_is_close_to_the_pixels(data: Path, tmp_path: Path, augment: bool) -> None:
    """It would not be if it were turned otherwise, or read elsewhere."""
    run = enlarging_run(data, tmp_path / "run", augment=augment, enlarge_noise=0.0)
    batch = first_batch(run)[1]
    target, details = batch.target, diffusion_of(run.config)
    assert isinstance(target, SmallerImages)
    assert target.levels.tolist() == [0.0, 0.0]
    pixels = to_data(to_unit(batch.patches, *run.config.preprocessing.range), details.scale)
    enlarged = enlarge_windows(target.windows, 4, details.patch)
    assert enlarged.shape == pixels.shape
    # Every square of 4 x 4 pixels, which is a patch here, keeps its mean nearly.
    means, found = pixels.mean(dim=-1), enlarged.mean(dim=-1)
    assert torch.corrcoef(torch.stack([means.flatten(), found.flatten()]))[0, 1] > 0.97
    assert details.enlarging is not None
    assert (pixels - enlarged).square().mean().sqrt() == pytest.approx(details.enlarging.deviation, rel=0.3)


def test_noise_follows_from_seed_epoch_and_number(data: Path, tmp_path: Path) -> None:
    run = enlarging_run(data, tmp_path / "run", enlarge_noise=0.2)
    objective, batch = first_batch(run)
    again = first_batch(run)[1]
    quiet = first_batch(replace(run, config=_without_noise(run)))[1]
    noisy, same, clean = (each.target for each in (batch, again, quiet))
    assert isinstance(noisy, SmallerImages)
    assert isinstance(same, SmallerImages)
    assert isinstance(clean, SmallerImages)
    assert torch.equal(noisy.windows, same.windows)
    assert torch.equal(noisy.levels, same.levels)
    groups = len(noisy.windows) // 2
    for image in range(2):
        part = slice(image * groups, (image + 1) * groups)
        drawn = (noisy.windows - clean.windows)[part].std()
        # The data have twice the range of the pixels.
        assert drawn == pytest.approx(2 * 0.2 * float(noisy.levels[image]), rel=0.15)
    other = next(Loader(run.dataset.train, objective.reading, 2).batches(4, 5)).target
    assert isinstance(other, SmallerImages)
    assert not torch.equal(other.levels, noisy.levels)


def _without_noise(run: Any) -> Any:
    details = diffusion_of(run.config)
    assert details.enlarging is not None
    return replace(run.config, details=replace(details, enlarging=replace(details.enlarging, noise=0.0)))


@pytest.mark.parametrize(
    "plan",
    [
        ExecutionPlan(kind="recompute", handful=2, global_layers="checkpoint"),
        ExecutionPlan(kind="stream", handful=1, global_layers="rerun"),
    ],
)
def test_every_execution_gives_the_step_in_memory(data: Path, tmp_path: Path, plan: ExecutionPlan) -> None:
    run = enlarging_run(data, tmp_path / "run", self_condition_rate=1.0, size=64)
    objective, batch = first_batch(run)
    results = []
    for each in (ExecutionPlan(), plan):
        model = build(run.config.model)
        loss = run_job(objective.job(model, batch, each), each).loss
        results.append((loss, [parameter.grad for parameter in model.parameters()]))
    (loss, gradients), (other, others) = results
    torch.testing.assert_close(other, loss, atol=1e-5, rtol=1e-5)
    for one, two in zip(gradients, others, strict=True):
        assert (one is None) == (two is None)
        if one is not None:
            torch.testing.assert_close(two, one, atol=1e-5, rtol=1e-3)
