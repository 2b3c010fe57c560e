"""What follows from the model of a task with an answer at every place, for each such task."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fitcli.annotations.class_table import ClassTable
from fitcli.annotations.label_survey import LabelSurvey
from fitcli.data.dataset import Dataset, Sample
from fitcli.errors import DataError
from fitcli.runs.option import OptionError
from fitcli.tasks.dense.dense_task import (
    NAMED,
    DenseTask,
    answers_of,
    check_rare_windows,
    named_classes,
    with_survey,
)
from fitcli.tasks.registry import TASKS, find_task, train_settings

DENSE = [task for name in TASKS if isinstance(task := find_task(name), DenseTask)]
SAMPLES = tuple(Sample(Path(f"{number}.png"), number or None) for number in range(3))
DATA = Dataset(
    classes=(), train=SAMPLES[:2], validation=SAMPLES[2:], fingerprint="", notes=("a note",), warnings=("w",)
)
CONFIG: Any = None


def test_there_are_two() -> None:
    assert len(DENSE) == 2


@pytest.mark.parametrize("task", DENSE, ids=lambda task: task.name)
def test_estimates_are_those_of_its_pass(task: DenseTask) -> None:
    preset = task.preset("debug")
    assert preset.config == task.model_of("debug", 3, task.sample.outputs, {})
    assert preset.group_pixels == preset.config.patch * preset.config.group
    assert task.passes is task.sample
    assert task.typical_config(preset.config) == preset.config
    assert task.step_input(preset.config) == task.sample.step_input(preset.config)
    assert task.class_weights == ("head.",)


@pytest.mark.parametrize("task", DENSE, ids=lambda task: task.name)
def test_images_without_answers_are_not_scored(task: DenseTask) -> None:
    assert task.match(Path("data"), DATA, SAMPLES, CONFIG) == list(SAMPLES[1:])
    with pytest.raises(DataError, match=f"data: no image has {task.answers} to compare with"):
        task.match(Path("data"), DATA, SAMPLES[:1], CONFIG)


@pytest.mark.parametrize("task", DENSE, ids=lambda task: task.name)
def test_windows_around_answers_need_windows(task: DenseTask) -> None:
    whole = train_settings(task=task.name, preset="debug", rare_windows=0.5)
    with pytest.raises(OptionError, match="random windows; give their --size"):
        task.check(whole)
    check_rare_windows(whole, 0.0)
    check_rare_windows(replace(whole, size=64), 0.5)


def test_a_survey_gives_lines_and_places_to_draw_windows_around() -> None:
    places = (np.array([[1, 2]]),)
    found = LabelSurvey(
        ClassTable(("a",), (0,)), (1,), notes=("second",), warnings=("x",), positions={Path("0.png"): places}
    )
    surveyed = with_survey(DATA, "kept", ["first"], found)
    assert surveyed.notes == ("first", "second", "a note")
    assert surveyed.warnings == ("w", "x")
    assert surveyed.surveyed == "kept"
    assert [sample.anchors for sample in surveyed.train] == [places, ()]


def test_answers_of_training_and_of_validation() -> None:
    assert answers_of(DATA) == ([(Path("0.png"), None), (Path("1.png"), 1), (Path("2.png"), 2)], {Path("2.png")})


def test_many_classes_are_counted() -> None:
    assert named_classes(["a", "b"]) == "a, b"
    assert named_classes(["c"] * (NAMED + 3)).endswith("c, and 3 more")
