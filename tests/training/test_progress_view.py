"""The progress of a run: a table on a terminal, lines in a log."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from rich.live import Live

from fitcli.training.progress_view import ProgressView
from fitcli.training.reports import (
    BadImageReport,
    StepReport,
    StopReport,
    ValidatingReport,
    ValidationReport,
)

STEP = StepReport(
    step=4, epoch=1, loss=1, learning_rate=1, gradient_norm=1, images_per_second=1, patches_per_second=1, data_wait=0,
    peak_bytes=1, scores={},
)  # fmt: skip


def test_a_log_has_a_line_at_least_every_five_minutes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    view = ProgressView(None, 0, 8)
    for step, clock[0] in enumerate([1100.0, 1299.0, 1301.0, 1599.0, 1700.0], 1):
        view(replace(STEP, step=step))
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["step 3 of 8: loss 1.000, 0:08:22 left", "step 5 of 8: loss 1.000, 0:07:00 left"]


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    with Live(console=console, auto_refresh=False) as region:
        view = ProgressView(region, 0, 8)
        console.print(region.renderable)
        view(StopReport())
        view(BadImageReport(step=4, path=Path("a.png"), reason="a.png: broken"))
        view(STEP)
        view(ValidatingReport(48))
        console.print(region.renderable)
        for step, accuracy in ((4, 0.75), (8, 0.5)):
            headline, scores = ("accuracy", f"{accuracy:.1%}"), {"accuracy": accuracy}
            view(ValidationReport(step=step, loss=1, scores=scores, best=step == 4, headline=headline))
        console.print(region.renderable)
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "0 of 8" in shown
    assert shown.count("48 images") == 1
    assert "50.0%  (best 75.0%, step 4)" in shown
    assert "after this step" in shown
    assert capsys.readouterr().err == "warning: a.png: broken; left out (1 so far)\n"
