"""The task: its survey, its config, and its sample step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.detect_models import boxed

from fitcli.annotations.objects.object_survey import ObjectSurvey
from fitcli.data.dataset import Sample, load_dataset
from fitcli.data.survey import Survey
from fitcli.errors import DataError, FitError
from fitcli.execution.plan import ExecutionPlan
from fitcli.execution.run import run_job
from fitcli.images.read_as import ReadAs
from fitcli.patches.preprocessing import Preprocessing
from fitcli.tasks.detect import task as module
from fitcli.tasks.detect.config import SIDES, DetectDetails
from fitcli.tasks.detect.sample_pass import DETECTING, TYPICAL_CLASSES
from fitcli.tasks.detect.task import TASK
from fitcli.tasks.registry import find_task, train_settings
from models.build import build
from models.config import ConfigError, DenseConfig
from models.groups import Groups

PIXELS = Preprocessing(channels=3, dtype="uint8", mean=(0.0,) * 3, std=(1.0,) * 3)


def settings(**options: Any) -> Any:
    return train_settings(**{"task": "detect", "preset": "debug", **options})


def test_the_registry_finds_it() -> None:
    assert find_task("detect") is TASK
    assert TASK.labels == "objects"


def test_impossible_options_are_refused_before_the_data() -> None:
    with pytest.raises(FitError, match="random windows; give their --size"):
        TASK.check(settings(rare_windows=0.5))
    with pytest.raises(ConfigError, match="no preset"):
        TASK.check(settings(preset="none"))
    TASK.check(settings(rare_windows=0.5, size=64, patch=4))


@pytest.mark.parametrize(("patch", "cell"), [(None, 4), (8, 2), (4, 1), (2, 1), (12, 3)])
def test_the_config_follows_from_the_objects(tmp_path: Path, patch: int | None, cell: int) -> None:
    chosen = settings(patch=patch, preset="debug" if patch in (None, 4, 8, 12) else "base")
    dataset = TASK.survey_targets(chosen, load_dataset(boxed(tmp_path), "objects"))
    assert dataset.notes[0] == "objects: iron (9), wood (9); boxes of typically 6 pixels; one class per place"
    config = TASK.describe(chosen, dataset, Survey(PIXELS, ((24, 40),), (Path("0.png"), (24, 40))))
    assert isinstance(config.model, DenseConfig)
    assert config.model.cell == cell
    assert config.model.outputs == 2 + SIDES
    assert config.details == DetectDetails(side=6.0, one_per_place=True)
    assert config.classes == ("iron", "wood")
    assert TASK.group_pixels(config) == config.model.patch * config.model.group


def test_classes_that_share_places_are_found_together(tmp_path: Path) -> None:
    """A fifth of the objects lie where one of another class does: the model may find both."""
    rows = "".join(f"images/{n}.png,24,{2 + n % 3 * 5},30,{8 + n % 3 * 5},knot,train\n" for n in (0, 2, 3, 4))
    dataset = TASK.survey_targets(settings(), load_dataset(boxed(tmp_path, rows=rows), "objects"))
    assert dataset.notes[0].endswith("; several classes per place (4 objects lie where one of another class does)")
    config: Any = TASK.describe(settings(), dataset, Survey(PIXELS, ((24, 40),), (Path("0.png"), (24, 40))))
    assert not config.details.one_per_place


def test_objects_are_surveyed_on_the_images_as_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[ReadAs] = []

    def survey(pairs: Any, read_as: ReadAs, *rest: Any) -> ObjectSurvey:
        asked.append(read_as)
        return ObjectSurvey(("a",), (1,), False, 6.0)

    monkeypatch.setattr(module, "survey_objects", survey)
    TASK.survey_targets(settings(level=1, series="2", channels="0"), load_dataset(boxed(tmp_path), "objects"))
    assert asked == [ReadAs(level=1, series="2", channels=ReadAs(**settings(channels="0").reading).channels)]


def test_windows_around_objects(tmp_path: Path) -> None:
    chosen = settings(rare_windows=0.5, size=16)
    dataset = load_dataset(boxed(tmp_path), "objects")
    surveyed = TASK.survey_targets(chosen, dataset)
    anchors = {sample.path.stem: sample.anchors for sample in surveyed.train}
    assert len(anchors["0"]) == 2
    assert anchors["9"] == ()
    assert surveyed.surveyed.positions == {}
    config: Any = TASK.describe(chosen, surveyed, Survey(PIXELS, ((24, 40),), (Path("0.png"), (24, 40))))
    resumed = TASK.resume_targets(chosen, dataset, config)
    assert [s.anchors[0].tolist() for s in resumed.train if s.anchors] == [
        s.anchors[0].tolist() for s in surveyed.train if s.anchors
    ]
    assert TASK.resume_targets(settings(), dataset, config) is dataset


def test_images_without_annotations_are_not_scored() -> None:
    alone, config = Sample(Path("a.png"), None), None
    with pytest.raises(DataError, match="no image has objects to compare with"):
        TASK.match(Path("data"), None, [alone], config)  # type: ignore[arg-type]


def test_presets_and_estimates() -> None:
    preset = TASK.preset("debug")
    assert preset.config.outputs == TYPICAL_CLASSES + SIDES
    assert TASK.passes is DETECTING
    assert TASK.typical_configs("debug") == [TASK.typical_config(TASK.preset("debug").config)]
    assert TASK.typical_config(preset.config) == preset.config
    assert TASK.step_input(preset.config) == DETECTING.step_input(preset.config)


@pytest.mark.parametrize("outputs", [2, 6])
def test_the_sample_step_is_a_step(outputs: int) -> None:
    config = replace(TASK.preset("debug").config, outputs=outputs)
    model, groups = build(config, seed=1), Groups.of_grid(1, 1, 2)
    pixels = torch.randint(256, (2, config.tokens, config.values)).to(torch.uint8)
    outcome = run_job(TASK.sample_step(model, groups, lambda part: pixels[part], ExecutionPlan()), ExecutionPlan())
    assert outcome.loss.isfinite()
    assert model.head.weight.grad.abs().sum() > 0


def test_warnings_of_the_data_set_and_of_its_objects_are_kept(tmp_path: Path) -> None:
    dataset = replace(load_dataset(boxed(tmp_path), "objects"), warnings=("patients in several splits",))
    assert "patients in several splits" in TASK.survey_targets(settings(), dataset).warnings


def test_features_are_refused(tmp_path: Path) -> None:
    dataset = TASK.survey_targets(settings(), load_dataset(boxed(tmp_path), "objects"))
    survey = Survey(replace(PIXELS, features=True, dtype="float32"), ((24, 40),), (Path("0.png"), (24, 40)))
    with pytest.raises(DataError, match="do not tell where in one an object lies; --task detect needs images"):
        TASK.describe(settings(), dataset, survey)
