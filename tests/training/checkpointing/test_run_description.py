"""A run folder is described from its own files; what is missing or damaged there is left out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from fitcli.errors import CheckpointError
from fitcli.tasks.load import load_config
from fitcli.training.checkpointing.run_description import METRICS, describe_run
from models.build import build

RUNS = sorted(path.parent for path in (Path(__file__).parents[2] / "data" / "runs").glob("*/config.json"))


@pytest.mark.parametrize("run", RUNS, ids=lambda path: path.name)
def test_runs_of_every_task_are_described(run: Path) -> None:
    described, config = describe_run(run), load_config(run)
    assert json.loads(json.dumps(described))["path"] == str(run)
    assert described["task"] == config.task
    assert described["attention_start"] == config.model.attention_start
    assert described["parameters"] == sum(p.numel() for p in build(config.model).parameters())
    assert described["classes"] in (list(config.classes), {t.name: list(t.classes) for t in config.targets})


def test_the_best_validation_is_the_last_that_was_the_best(tmp_path: Path) -> None:
    shutil.copytree(RUNS[0], tmp_path / "run")
    reports = [(10, 0.5, True), (20, 0.6, False), (30, 0.4, True), (40, 0.7, False)]
    lines = [
        json.dumps({"kind": "validation", "step": step, "loss": loss, "best": best}) for step, loss, best in reports
    ]
    (tmp_path / "run" / METRICS).write_text("\n".join(lines) + "\n")
    assert describe_run(tmp_path / "run")["best"] == {"step": 30, "loss": 0.4}


@pytest.mark.parametrize("metrics", [b"", b"\xff\xfe", b'{"best": true', b'["best": true]\n' * 3, b'[{"best": true}]'])
def test_metrics_without_a_best_validation(tmp_path: Path, metrics: bytes) -> None:
    shutil.copytree(RUNS[0], tmp_path / "run")
    (tmp_path / "run" / METRICS).write_bytes(metrics)
    shutil.rmtree(tmp_path / "run" / "training", ignore_errors=True)
    described = describe_run(tmp_path / "run")
    assert (described["best"], described["preset"]) == (None, None)


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="not a run's settings"):
        describe_run(tmp_path)
