"""The task: what it checks before a run, the config that it describes, and the images that it scores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from fitcli.annotations.class_table import ClassTable
from fitcli.annotations.label_survey import LabelSurvey
from fitcli.annotations.labels import LabelRules
from fitcli.data.dataset import Dataset, Sample
from fitcli.data.survey import Survey
from fitcli.errors import DataError, FitError
from fitcli.execution.plan import ExecutionPlan
from fitcli.execution.run import run_job
from fitcli.images.read_as import ReadAs
from fitcli.patches.preprocessing import Preprocessing
from fitcli.tasks.dense.dense_task import NAMED
from fitcli.tasks.registry import find_task, train_settings
from fitcli.tasks.segment import task as module
from fitcli.tasks.segment.config import SegmentDetails
from fitcli.tasks.segment.loss import class_weights
from fitcli.tasks.segment.sample_pass import SEGMENTING, TYPICAL_CLASSES
from fitcli.tasks.segment.task import TASK
from models.build import build
from models.config import ConfigError, DenseConfig
from models.groups import Groups
from models.presets import dense_preset

SAMPLES = tuple(Sample(Path(f"{number}.png"), Path(f"{number} labels.png")) for number in range(3))
DATA = Dataset(classes=(), train=SAMPLES[:2], validation=SAMPLES[2:], fingerprint="", notes=("a note",))
TABLE = ClassTable(("ground", "iron"), (0, 9), (None, (1, 2, 3)))
PIXELS = Preprocessing(channels=3, dtype="uint8", mean=(0.0,) * 3, std=(1.0,) * 3)


def settings(**options: Any) -> Any:
    return train_settings(**{"task": "segment", "preset": "debug", **options})


def test_the_registry_finds_it() -> None:
    assert find_task("segment") is TASK
    assert TASK.labels == "files"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cell": 3}, "cells of 3 pixels do not fill a patch of"),
        ({"patch": 4, "cell": 8}, "cells of 8 pixels do not fill a patch of 4 pixels"),
        ({"classes": "iron"}, "iron: the classes cannot be read"),
        ({"classes": "0=a,0=b"}, "the value 0 occurs twice"),
        ({"elsewhere": " "}, "has no name"),
    ],
)
def test_impossible_options_are_refused_before_the_data(options: dict[str, Any], message: str) -> None:
    with pytest.raises((FitError, ConfigError), match=message):
        TASK.check(settings(**options))
    TASK.check(settings(classes="0=ground,9=iron", cell=4))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Patch the survey; return its arguments."""
    calls: list[Any] = []

    def survey(*arguments: Any) -> LabelSurvey:
        calls.append(arguments)
        return LabelSurvey(TABLE, (300, 100), notes=("a second note",))

    monkeypatch.setattr(module, "survey_labels", survey)
    return calls


@pytest.mark.parametrize("classes", [None, "0=ground,9=iron"])
def test_the_survey_sees_all_images_as_they_are_read(asked: list[Any], classes: str | None) -> None:
    surveyed = TASK.survey_targets(settings(classes=classes, elsewhere="ground", level=2, max_bad_images=3), DATA)
    ((pairs, table, rules, read_as, most_bad, positions, held_out),) = asked
    assert (positions, held_out) == (False, {SAMPLES[2].path})
    assert pairs == [(sample.path, sample.target) for sample in SAMPLES]
    assert table == (None if classes is None else ClassTable(TABLE.names, TABLE.values))
    assert (rules, read_as, most_bad) == (LabelRules("ground"), ReadAs(level=2), 3)
    assert surveyed.notes == (
        "classes (share of the labelled pixels): 0=ground (75.0%), 9=iron (25.0%)", "a second note", "a note",
    )  # fmt: skip
    assert surveyed.surveyed == LabelSurvey(TABLE, (300, 100), notes=("a second note",))


def test_many_classes_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    count = NAMED + 3
    table = ClassTable(tuple(f"c{number}" for number in range(count)), tuple(range(count)))
    monkeypatch.setattr(module, "survey_labels", lambda *_: LabelSurvey(table, (1,) * count))
    line = TASK.survey_targets(settings(), DATA).notes[0]
    assert line.endswith(f"{NAMED - 1}=c{NAMED - 1} ({1 / count:.1%}), and 3 more")


@pytest.mark.parametrize("weights", ["none", "root", "inverse"])
def test_the_config_has_the_classes_of_the_survey(asked: list[Any], weights: str) -> None:
    chosen = settings(
        patch=8, cell=4, elsewhere="ground ", class_weights=weights, skip_background=True, background_threshold=0.1
    )
    surveyed = TASK.survey_targets(chosen, DATA)
    config = TASK.describe(chosen, surveyed, Survey(PIXELS, ((40, 50),), (Path("0.png"), (40, 50))))
    assert config.classes == TABLE.names
    assert config.model == dense_preset("debug", 3, 2, cell=4, changes={"patch": 8})
    assert isinstance(config.model, DenseConfig)
    assert config.model.cell == 4
    assert config.preprocessing == replace(PIXELS, background=0.1)
    assert config.details == SegmentDetails(
        values=(0, 9), colors=TABLE.colors, elsewhere="ground", weights=class_weights(weights, (300, 100))
    )
    assert TASK.group_pixels(config) == config.model.group * 8


def test_images_without_labels_are_not_scored() -> None:
    alone = Sample(Path("alone.png"), None)
    config: Any = None
    assert TASK.match(Path("data"), DATA, [alone, *SAMPLES], config) == list(SAMPLES)
    with pytest.raises(DataError, match="data: no image has labels to compare with"):
        TASK.match(Path("data"), DATA, [alone], config)


def test_presets_are_models_of_a_typical_number_of_classes() -> None:
    preset = TASK.preset("debug")
    assert preset.config == dense_preset("debug", 3, TYPICAL_CLASSES)
    assert preset.group_pixels == preset.config.patch * preset.config.group
    assert TASK.passes is SEGMENTING
    assert TASK.typical_config(preset.config) == preset.config
    assert TASK.step_input(preset.config) == SEGMENTING.step_input(preset.config)


def test_the_sample_step_is_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    config = dense_preset("debug", 3, 3)
    model, groups = build(config, seed=1), Groups.of_grid(1, 1, 2)
    pixels = torch.randint(256, (2, config.tokens, config.values)).to(torch.uint8)
    outcome = run_job(TASK.sample_step(model, groups, lambda part: pixels[part], ExecutionPlan()), ExecutionPlan())
    assert outcome.loss.isfinite()
    assert model.head.weight.grad.abs().sum() > 0
