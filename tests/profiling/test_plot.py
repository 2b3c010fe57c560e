"""The plot of a profile: its curves are the estimates, and a path that cannot be written is refused."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from fitcli.errors import FitError
from fitcli.memory.estimate import estimate_step
from fitcli.memory.plan import named_plans
from fitcli.profiling.peer_estimate import estimate_peer
from fitcli.profiling.plot import SHOWN, SIDES, check_plot, curves
from fitcli.profiling.profile import training_step
from fitcli.profiling.subject import Conditions, subject_for

SUBJECT = subject_for(None, "tiny", None)
CONDITIONS = Conditions(device="cuda", precision="bf16", images=1, budget_bytes=1, method="estimate", runtime=None)


def test_curves_are_the_estimates_of_every_size() -> None:
    drawn = curves(SUBJECT, CONDITIONS, ["vit"])
    assert list(drawn) == [*(f"FIT, {name}" for name in SHOWN), "vit", "vit, checkpointed"]
    assert all([side for side, _ in curve] == list(SIDES) for curve in drawn.values())
    number = SIDES.index(1024)
    step = training_step(SUBJECT, CONDITIONS, SUBJECT.side(1024, training=True))
    assert drawn["FIT, recompute"][number][1] == estimate_step(step, named_plans(step)["recompute"])
    assert drawn["vit, checkpointed"][number][1] == estimate_peer("vit", step, 1024, checkpointed=True)


def test_paths_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_plot(tmp_path / "plot.SVG")
    with pytest.raises(FitError, match=r"^--plot plot\.txt: the suffix must be \.png, \.svg, \.pdf, \.jpg$"):
        check_plot(Path("plot.txt"))
    with pytest.raises(FitError, match="--plot"):
        check_plot(tmp_path / "nowhere" / "plot.png")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FitError, match=r"^--plot needs matplotlib; install it with: pip install 'fitcli\[plot\]'$"):
        check_plot(tmp_path / "plot.png")
