"""The table of validation curves."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks.learning import validation_curves
from benchmarks.learning.validation_curves import Validated, read_curve, smoothness


def curve(*points: tuple[float, float]) -> list[Validated]:
    return [Validated(10 * (number + 1), loss, accuracy) for number, (loss, accuracy) in enumerate(points)]


def test_a_jumpy_course() -> None:
    points = [(9.0, 0.5), (0.6, 1.0), (4.5, 0.8), (0.2, 0.95), (0.9, 0.85), (0.1, 1.0), (0.2, 1.0), (0.3, 1.0)]
    assert smoothness(curve(*points)) == {
        "largest_loss": 4.5, "drops": 1, "steps_to_good": 60, "least_loss": 0.1, "last_accuracy": 1.0,
    }  # fmt: skip


def test_a_course_that_never_gets_there() -> None:
    assert smoothness(curve((0.7, 0.5), (0.7, 0.94)))["steps_to_good"] is None
    assert smoothness(curve((0.7, 0.95), (0.7, 1.0)))["steps_to_good"] == 10


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name, accuracy in (("a", 0.5), ("b", 1.0)):
        (tmp_path / name).mkdir()
        lines = [
            {"kind": "train", "step": 1, "loss": 1},
            {"kind": "validation", "step": 1, "loss": 0.5, "accuracy": accuracy},
        ]
        (tmp_path / name / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read_curve(tmp_path / "b") == [Validated(1, 0.5, 1.0)]
    picture = tmp_path / "curves.png"
    arguments = [f"wells={tmp_path / 'a'},{tmp_path / 'b'}", "--plot", str(picture), "--out", str(tmp_path / "o.json")]
    monkeypatch.setattr(sys, "argv", ["validation_curves", *arguments])
    validation_curves.main()
    assert "| wells, before | 0.50 | 0 | never | 0.50 | 50% |" in capsys.readouterr().out
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert json.loads((tmp_path / "o.json").read_text())["curves"]["wells"][1] == [[1, 0.5, 1.0]]
    more = [f"demo={tmp_path / 'b'},{tmp_path / 'b'}", "--earlier", str(tmp_path / "o.json")]
    monkeypatch.setattr(sys, "argv", ["validation_curves", *more])
    validation_curves.main()
    shown = capsys.readouterr().out
    assert "| wells, before | 0.50 | 0 | never | 0.50 | 50% |" in shown
    assert "| demo, after | 0.50 | 0 | 1 | 0.50 | 100% |" in shown
