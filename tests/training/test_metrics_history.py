"""The numbers of `metrics.jsonl` are read once each, whole lines alone."""

from __future__ import annotations

import json
from pathlib import Path

from fitcli.training.metrics_history import MetricsHistory


def line(kind: str, step: int, **values: object) -> str:
    return json.dumps({"kind": kind, "step": step, **values}) + "\n"


def test_lines_are_read_once_and_incomplete_ones_later(tmp_path: Path) -> None:
    path, history = tmp_path / "metrics.jsonl", MetricsHistory(tmp_path)
    begun = line("train", 2, loss=1.5, learning_rate=0.1)
    path.write_text(line("train", 1, loss=2) + line("validation", 1, loss=3.0, best=True, accuracy=0.5) + begun[:9])
    history.update()
    assert history.steps("loss").tolist() == [[1, 2]]
    assert history.validation_names == ["loss", "accuracy"], "best is no number"
    with path.open("a") as file:
        file.write(begun[9:] + line("bad image", 2, path="a.tif", reason="broken") + "no JSON\n[]\n")
    history.update()
    history.update()
    assert history.steps("loss").tolist() == [[1, 2], [2, 1.5]]
    assert history.validations("accuracy").tolist() == [[1, 0.5]]
    assert history.steps("none").shape == (0, 2)
    assert history.bad_images == {"a.tif": "broken"}
