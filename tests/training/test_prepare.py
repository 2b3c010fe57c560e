"""Settings, data sets and folders that do not fit a run are refused by name, before anything is written."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.command_line import Fit
from support.pictures import colored, save
from support.runs import assert_same_run
from support.small_runs import CPU, labelled, quietly, run_of, two_classes

from fitcli.errors import DataError, FitError
from fitcli.tasks.registry import train_settings
from fitcli.training.loop import train
from fitcli.training.optimizer import learning_rate
from fitcli.training.prepare import prepare
from fitcli.training.reports import (
    Report,
    StepReport,
)
from fitcli.training.start_options import StartOptions


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_classes(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of eight steps."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    train(run_of(data, folder), quietly)
    return folder


@pytest.fixture
def own_data(tmp_path: Path) -> Path:
    """A data set that the test may change."""
    return two_classes(tmp_path / "data", (24, 16))


@pytest.fixture
def begun(own_data: Path, tmp_path: Path) -> Path:
    """A run of four steps, one epoch, on `own_data`."""
    train(run_of(own_data, tmp_path / "run", epochs=1), quietly)
    return tmp_path / "run"


@pytest.mark.parametrize(("name", "value"), [("seed", 5), ("learning_rate", 1e-4), ("size", 16), ("augment", False)])
def test_resuming_with_other_settings_is_refused_by_name(data: Path, finished: Path, name: str, value: object) -> None:
    with pytest.raises(FitError, match=rf"--{name.replace('_', '-')}: .*begun with.* not .*{value}; "):
        run_of(data, finished, resume=True, **{name: value})


def test_a_resumed_run_keeps_its_settings_and_may_be_longer(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    train(run_of(data, folder, seed=3, steps=2), quietly)
    settings = train_settings(preset="large", steps=6)
    again = StartOptions(data=data, folder=folder, runtime=CPU, resume=True, given={"steps"})
    longer = prepare(settings, again)[0]
    assert (longer.settings.preset, longer.settings.seed, longer.total_steps) == ("debug", 3, 6)
    seen: list[Report] = []
    assert train(longer, seen.append, resume=True).step == 6
    rates = [report.learning_rate for report in seen if isinstance(report, StepReport)]
    assert rates == [learning_rate(step, 6, longer.settings) for step in range(2, 6)]
    assert run_of(data, folder, resume=True).total_steps == 6, "the record has the new end"
    assert prepare(train_settings(epochs=5), replace(again, given={"epochs"}))[0].total_steps == 20


def test_another_data_set_is_refused_and_a_moved_one_is_not(data: Path, finished: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(data, tmp_path / "moved"))
    run_of(moved, finished, resume=True)
    (moved / "dark/4.png").rename(moved / "dark/5.png")
    message = r"moved: is not what .*1 image added \(dark.5.png\), 1 image removed \(dark.4.png\)"
    with pytest.raises(FitError, match=message):
        run_of(moved, finished, resume=True)


def test_resuming_with_other_classes_is_refused(finished: Path, tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        for number in range(2):
            save(tmp_path / label / f"{number}.png", colored((8, 8), (1, 2, 3), number))
    with pytest.raises(FitError, match=r"was trained on dark, light; .*cat.*dog"):
        run_of(tmp_path, finished, resume=True)


def test_an_unusable_data_set_creates_nothing(tmp_path: Path) -> None:
    def refused(match: str, error: type[FitError] = DataError) -> None:
        with pytest.raises(error, match=match):
            run_of(tmp_path / "data", tmp_path / "run")
        assert not (tmp_path / "run").exists()

    refused("no such data set")
    for label in ("a", "b"):
        for number in range(2):
            save(tmp_path / "data" / label / f"{number}.png", colored((8, 8), (1, 2, 3), number))
    broken = tmp_path / "data/b/2.png"
    broken.write_bytes(b"not a picture")
    (tmp_path / "data/b/3.tif").write_bytes(b"II*\0")
    refused(r"2\.png: .* \(and 1 more image that cannot be read\)")
    broken.unlink()
    (tmp_path / "data/b/3.tif").unlink()
    save(tmp_path / "data/b/2.tif", np.zeros((8, 8, 5), np.uint8))
    refused(r"2\.tif: has 5 channels")


def test_a_changed_data_set_is_refused_with_the_changes(own_data: Path, begun: Path) -> None:
    data, before = own_data, sorted(begun.rglob("*"))
    (data / "dark/0.png").rename(data / "dark/9.png")
    (data / "dark/1.png").rename(data / "light/8.png")
    message = (
        r"data: is not what .*run was trained on: 2 images added \(dark/9.png; light/8.png\), "
        r"2 images removed \(dark/0.png; dark/1.png\).*; resume with the data set as it was, go on with this one with "
        r"--accept-changed-data, or start a new run$"
    )
    with pytest.raises(FitError, match=message) as caught:
        run_of(data, begun, resume=True)
    assert "\n" not in str(caught.value)
    assert sorted(begun.rglob("*")) == before
    with pytest.raises(FitError, match="--accept-changed-data is for --resume"):
        run_of(data, begun.parent / "new", accept=True)


def test_a_changed_data_set_can_be_accepted(own_data: Path, begun: Path, fit: Fit) -> None:
    data = own_data
    save(data / "dark/17.png", colored((24, 16), (60, 80, 70), 17))
    arguments = ["train", data, "--out", begun, "--resume", "--epochs", 3, "--device", "cpu"]
    result = fit(*arguments)
    assert result.exit_code == 1
    assert "1 image added (dark/17.png)" in result.stderr
    result = fit(*arguments, "--accept-changed-data")
    assert result.exit_code == 0, result.stderr
    assert f"warning: {data}: 1 image added (dark/17.png)" in result.stderr
    assert fit(*arguments).exit_code == 0, "the record has the changed data set"


def test_edited_files_of_labels_are_a_changed_data_set(tmp_path: Path) -> None:
    data, run = labelled(tmp_path / "data", (24, 36)), tmp_path / "run"
    options = {"task": "segment", "patch": 4, "classes": "0=dark,1=light"}
    train(run_of(data, run, **options), quietly)
    save(tmp_path / "data/labels/3.png", np.zeros((24, 36, 1), np.uint8))
    with pytest.raises(FitError, match=r"trained on: 1 file of labels edited \(labels/3\.png\); resume with"):
        run_of(data, run, resume=True, **options)
    assert run_of(data, run, resume=True, accept=True, **options).changed == "1 file of labels edited (labels/3.png)"
    record = run / "training/dataset.json"
    document = json.loads(record.read_text())
    assert len(document.pop("label_files")) == 10
    record.write_text(json.dumps(document))
    assert run_of(data, run, resume=True, **options).changed == "", "a run of a version that kept no digests"


def test_a_start_that_was_killed_can_be_repeated(own_data: Path, tmp_path: Path) -> None:
    data, begun, run = own_data, tmp_path / "begun", tmp_path / "run"
    train(run_of(data, begun), quietly)
    shutil.copytree(begun / "training", run / "training")
    shutil.rmtree(run / "training/states")
    train(run_of(data, run), quietly)
    assert_same_run(run, begun)
    (tmp_path / "mine/training").mkdir(parents=True)
    with pytest.raises(FitError, match="is not an empty folder"):
        run_of(data, tmp_path / "mine")
