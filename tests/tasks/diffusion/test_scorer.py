"""The scorer of diffusion models: losses at ten noise levels, and their means."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.generators import make_run, photograph

from fitcli.data.dataset import Sample
from fitcli.device.runtime import choose_runtime
from fitcli.tasks.diffusion.config import Enlarging
from fitcli.tasks.diffusion.scores import TIMES, image_losses
from fitcli.tasks.diffusion.task import TASK as DIFFUSION
from fitcli.tasks.encoding.encode import EncodingSettings
from fitcli.tasks.load import load_run

CPU = choose_runtime("cpu", "fp32")


def test_images_are_scored_by_their_losses(tmp_path: Path) -> None:
    checkpoint = load_run(make_run(tmp_path / "run"), CPU, DIFFUSION)
    scorer = DIFFUSION.scorer(checkpoint, CPU, EncodingSettings(), whole=False)
    assert scorer.depends_on == (False,)
    samples = [Sample(Path("a.png"), 0), Sample(Path("b.png"), 1)]
    scored = [(sample, scorer.score(photograph(32, 32), sample, number)) for number, sample in enumerate(samples)]
    for number, (sample, losses) in enumerate(scored):
        assert losses == image_losses(checkpoint, photograph(32, 32), CPU, number, sample.target).tolist()
    result = scorer.summarize(scored, "all", failed=0)
    means = np.mean([losses for _, losses in scored], axis=0)
    assert result.scores["loss"] == pytest.approx(means.mean())
    assert [level["time"] for level in result.scores["levels"]] == list(TIMES)
    assert [level["loss"] for level in result.scores["levels"]] == pytest.approx(means.tolist())
    assert result.columns[:3] == ("path", "loss", "loss_at_0.05")
    assert float(str(result.rows[1][1])) == pytest.approx(np.mean(scored[1][1]), abs=1e-6)


def test_a_run_that_enlarges_is_compared_with_interpolation(tmp_path: Path) -> None:
    how = Enlarging(factor=4, noise=0.05, deviation=0.1)
    checkpoint = load_run(make_run(tmp_path / "run", classes=(), enlarging=how), CPU, DIFFUSION)
    scorer = DIFFUSION.scorer(checkpoint, CPU, EncodingSettings(), whole=False)
    samples, images = [Sample(Path(f"{name}.png"), 0) for name in "abc"], [(32, 32), (40, 50), (3, 20)]
    scored = [
        (s, scorer.score(photograph(*size), s, n)) for n, (s, size) in enumerate(zip(samples, images, strict=True))
    ]
    assert all(np.isfinite(row[: len(TIMES)]).all() for _, row in scored)
    result = scorer.summarize(scored, "all", failed=0)
    for place, name in enumerate(("bicubic", "mean", "sample"), len(TIMES)):
        ratios = [-10 * np.log10(row[place]) for _, row in scored[:2]]
        assert result.scores[f"psnr_{name}"] == pytest.approx(np.mean(ratios))
        assert float(str(result.rows[0][place + 2])) == pytest.approx(ratios[0], abs=1e-3)
        assert result.rows[2][place + 2] == "", "too small to shrink"
        assert result.columns[place + 2] == f"psnr_{name}"
    nothing = scorer.summarize(scored[2:], "all", failed=0)
    assert not [name for name in nothing.scores if name.startswith("psnr")], "JSON has no NaN"
