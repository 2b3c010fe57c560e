"""The passes of `fit evaluate` keep a memory limit, and what an error names as enough is enough."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from support.peak_memory import MIB, run_apart
from support.processes import NEEDS_PROC
from support.small_runs import CPU, data_of, run_of, two_classes

from fitcli.errors import OutOfMemory
from fitcli.images.array_image import ArrayReader
from fitcli.memory.handfuls import usual_handful
from fitcli.tasks.load import load_run
from fitcli.tasks.registry import TASKS, find_task
from fitcli.tasks.scoring_memory import UNLIMITED, Scoring, ScoringLimit
from fitcli.training.loop import train

SCORING = Scoring(group_pixels=128, value_bytes=4, values=192, output_values=192, pixel_bytes=8)


def trained_run(task: str, folder: Path) -> tuple[Path, Path]:
    """Train a run for one step; return its data set and its folder."""
    data = data_of(task, two_classes(folder / "data", (96, 128), 2))
    run = run_of(data, folder / "run", task=task, steps=1, size=64)
    train(run, lambda report: None)
    return data, run.folder


@pytest.mark.walk(1)
@NEEDS_PROC
@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=pytest.mark.slow)])
@pytest.mark.parametrize("task", TASKS)
def test_the_budget_that_the_error_of_an_evaluation_names_is_kept(task: str, precision: str, tmp_path: Path) -> None:
    data, run = trained_run(task, tmp_path)
    words = ("evaluate", data, "--split", "all", "--checkpoint", run, "--device", "cpu", "--precision", precision)
    refused = run_apart(*words, "--memory", "20MiB")
    found = re.search(r"at least (\d+) MiB", refused.error + refused.stderr)
    assert found is not None, refused
    least = int(found[1])
    done = run_apart(*words, "--memory", f"{least}MiB")
    assert not done.error, done
    assert done.peak_bytes <= least * MIB


def test_a_larger_limit_computes_more_groups_together(tmp_path: Path) -> None:
    checkpoint = load_run(trained_run("diffusion", tmp_path)[1], CPU)
    image, task = ArrayReader(np.zeros((2048, 2048, 3), np.uint8)), find_task("diffusion").passes
    least, most = (
        ScoringLimit(task, memory * MIB).execution(checkpoint, image, (1024, 1024), CPU, SCORING)
        for memory in (150, 1024)
    )
    assert 1 <= least[0] < most[0] == min(64, usual_handful(checkpoint.model.config, "pass", "cpu"))
    assert most[1] == "host"
    with pytest.raises(OutOfMemory, match="64 groups need at least"):
        ScoringLimit(task, MIB).execution(checkpoint, image, (1024, 1024), CPU, SCORING)


def test_without_a_limit_a_handful_has_the_usual_size(tmp_path: Path) -> None:
    checkpoint = load_run(trained_run("diffusion", tmp_path)[1], CPU)
    image = ArrayReader(np.zeros((64, 64, 3), np.uint8))
    usual = usual_handful(checkpoint.model.config, "pass", "cpu")
    assert UNLIMITED.execution(checkpoint, image, None, CPU, SCORING) == (usual, "host")
