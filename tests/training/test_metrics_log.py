"""`metrics.jsonl`: a resumed run drops entries of later steps and incomplete lines."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fitcli.training.metrics_log import MetricsLog
from fitcli.training.reports import BadImageReport, StepReport, ValidationReport


@pytest.mark.parametrize("cut", [1, 2, 20])
def test_incomplete_lines_are_dropped(tmp_path: Path, cut: int) -> None:
    """A kill or a full disk cuts the last line off."""
    path = tmp_path / "metrics.jsonl"
    lines = [json.dumps({"kind": "train", "step": step, "loss": 0.5}) + "\n" for step in range(1, 8)]
    path.write_text("".join(lines[:6])[:-cut])
    with MetricsLog(tmp_path, step=4) as log:
        assert path.read_text() == "".join(lines[:4])
    path.write_text("".join(lines[:6])[:-cut])
    with MetricsLog(tmp_path, step=6) as log:
        log(BadImageReport(step=7, path=Path("a"), reason="b"))
    *kept, bad = path.read_text().splitlines(keepends=True)
    assert kept == lines[: 6 if cut == 1 else 5], "a line without its line break is whole"
    assert json.loads(bad)["step"] == 7
    with MetricsLog(tmp_path, step=7) as log:
        assert [bad.path for bad in log.bad_images] == [Path("a")]


def test_entries_of_later_steps_and_validations_are_dropped(tmp_path: Path) -> None:
    """A run is resumed after step 3, whose validation was not saved and is repeated."""
    step = StepReport(
        step=1, epoch=0.5, loss=0.25, learning_rate=0.1, gradient_norm=2.0, images_per_second=3.0,
        patches_per_second=4.0, data_wait=0.0, peak_bytes=5, scores={"accuracy": 0.75},
    )  # fmt: skip
    validation = ValidationReport(step=2, loss=0.5, scores={"accuracy": 1.0}, best=True, headline=("accuracy", "100 %"))
    path = tmp_path / "metrics.jsonl"
    with MetricsLog(tmp_path, step=0) as log:
        for number in (1, 2, 3):
            log(replace(step, step=number))
            log(replace(validation, step=number))
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(entry["kind"], entry["step"]) for entry in entries] == [
        (kind, number) for number in (1, 2, 3) for kind in ("train", "validation")
    ]
    assert (entries[0]["accuracy"], entries[1]["accuracy"], entries[1]["best"]) == (0.75, 1.0, True)
    assert not {"scores", "headline"} & (entries[0].keys() | entries[1].keys())
    with MetricsLog(tmp_path, step=3, validated=2):
        kept = [json.loads(line) for line in path.read_text().splitlines()]
    assert kept == entries[:5]
