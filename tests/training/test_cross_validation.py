"""`fit train --cross-validate`: a run per fold, a table, and folds that are not trained twice."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from support.command_line import Fit
from support.data_sets import table
from support.pictures import colored, save

from fitcli.data.dataset import load_dataset
from fitcli.data.splitting import Splitting
from fitcli.training import cross_validation
from fitcli.training.checkpointing.run_record import load_settings
from fitcli.training.cross_validation import as_table, interval, summary

OPTIONS = ("--preset", "debug", "--epochs", "2", "--batch-size", "8")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve images of six patients."""
    folder = tmp_path_factory.mktemp("data")
    lines = ["path,label,patient"]
    for number in range(12):
        label = ("red", "blue")[number // 2 % 2]
        save(folder / f"{number}.png", colored((32, 32), (200, 60, 40) if label == "red" else (40, 60, 200), number))
        lines.append(f"{number},{label},p{number // 2}")
    return table(folder, *lines)


@pytest.fixture(scope="module")
def finished(data: Path, fit: Fit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "cv"
    result = fit("train", data, "--out", run, "--cross-validate", "3", *OPTIONS)
    assert result.exit_code == 0, result.stderr
    assert "95 %" in result.stdout
    return run


def modified(run: Path) -> dict[str, int]:
    return {f"{path.relative_to(run)}": path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}


def test_a_run_per_fold_and_their_scores(data: Path, finished: Path) -> None:
    document = json.loads((finished / "cross-validation.json").read_text())
    assert [run["folder"] for run in document["runs"]] == ["fold-1", "fold-2", "fold-3"]
    losses = [run["scores"]["loss"] for run in document["runs"]]
    assert document["mean"]["loss"] == pytest.approx(np.mean(losses))
    low, high = document["interval"]["loss"]
    assert (low + high) / 2 == pytest.approx(np.mean(losses))
    assert high - low == pytest.approx(2 * 4.303 * np.std(losses, ddof=1) / np.sqrt(3))
    for fold in (1, 2, 3):
        record = json.loads((finished / f"fold-{fold}/training/dataset.json").read_text())
        held = {sample.key for sample in load_dataset(data, splitting=Splitting(3, fold)).validation}
        assert {name for name, _, split in record["images"] if split == "val"} == held


def test_finished_folds_are_left_alone(data: Path, finished: Path, fit: Fit, tmp_path: Path) -> None:
    before = modified(finished)
    again = fit("train", data, "--out", finished, "--cross-validate", "3", *OPTIONS, "--resume")
    assert again.exit_code == 0, again.stderr
    assert modified(finished) == before
    run = shutil.copytree(finished, tmp_path / "cv")
    shutil.rmtree(run / "fold-3")
    weights = (finished / "fold-3/model.safetensors").read_bytes()
    before = {name: time for name, time in modified(run).items() if name.startswith("fold-")}
    result = fit("train", data, "--out", run, "--cross-validate", "3", *OPTIONS, "--resume")
    assert result.exit_code == 0, result.stderr
    now = modified(run)
    assert {name: now[name] for name in before} == before
    assert (run / "fold-3/model.safetensors").read_bytes() == weights
    assert result.stdout.splitlines()[1:] == again.stdout.splitlines(), "the same table"


def test_folds_that_have_not_begun_take_the_settings_of_the_others(
    data: Path, finished: Path, fit: Fit, tmp_path: Path
) -> None:
    run = tmp_path / "cv"
    shutil.copytree(finished, run)
    shutil.rmtree(run / "fold-2")
    result = fit("train", data, "--out", run, "--cross-validate", "3", "--resume")
    assert result.exit_code == 0, result.stderr
    before, after = (load_settings(folder / "fold-2") for folder in (finished, run))
    assert after == before, "without the options of the first call"
    assert (run / "fold-2" / "model.safetensors").read_bytes() == (
        finished / "fold-2" / "model.safetensors"
    ).read_bytes()
    shutil.rmtree(run / "fold-3")
    refused = fit("train", data, "--out", run, "--cross-validate", "3", "--resume", "--preset", "nano")
    assert refused.exit_code == 1
    assert "--preset: the run was begun with preset = debug, not nano" in refused.stderr


@pytest.mark.more
def test_a_fold_that_was_stopped_ends_as_if_it_was_not(data: Path, finished: Path, fit: Fit, tmp_path: Path) -> None:
    run, command = tmp_path / "cv", ("train", data, "--cross-validate", "3", *OPTIONS, "--auto-resume")
    for _ in range(15):
        # One step or one validation each time.
        result = fit(*command, "--out", run, "--max-minutes", "0")
        assert result.exit_code == 0, result.stderr
        if "mean" in result.stdout:
            break
    else:
        pytest.fail("not finished after 15 starts")
    for fold in (1, 2, 3):
        for name in ("model.safetensors", "config.json"):
            assert (run / f"fold-{fold}" / name).read_bytes() == (finished / f"fold-{fold}" / name).read_bytes()
    assert (run / "cross-validation.json").read_text() == (finished / "cross-validation.json").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("3",), "holds fold-1, fold-2, fold-3 already; continue with --resume"),
        (("4", "--resume"), "was begun with --cross-validate 3, not 4; give --cross-validate 3, or choose another"),
        (("2", "--resume"), "was begun with --cross-validate 3, not 2; give --cross-validate 3, or choose another"),
        (("3", "--resume", "--folds", "3", "--fold", "1"), "trains every fold; leave --folds and --fold out"),
        (("3", "--resume", "--learning-rate", "0.5"), "--learning-rate: the run was begun with"),
    ],
)
def test_what_is_refused(data: Path, finished: Path, fit: Fit, options: tuple[str, ...], message: str) -> None:
    before = modified(finished)
    result = fit("train", data, "--out", finished, "--cross-validate", *options, *OPTIONS)
    assert result.exit_code == 1
    assert message in result.stderr
    assert modified(finished) == before


def test_a_column_of_folds(data: Path, fit: Fit, tmp_path: Path) -> None:
    shutil.copytree(data.parent, tmp_path / "data")
    lines = data.read_text().splitlines()
    own = table(tmp_path / "data", f"{lines[0]},fold", *(f"{line},{n // 4}" for n, line in enumerate(lines[1:])))
    wrong = fit("train", own, "--out", tmp_path / "cv", "--cross-validate", "5", *OPTIONS)
    assert "has 3 folds in its column fold, not 5; give --cross-validate 3" in wrong.stderr
    result = fit("train", own, "--out", tmp_path / "cv", "--cross-validate", "3", "--preset", "debug", "--steps", "1")
    assert result.exit_code == 0, result.stderr
    assert sorted(path.name for path in (tmp_path / "cv").iterdir()) == [
        "cross-validation.json", "fold-0", "fold-1", "fold-2"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("columns", "cells", "folds", "message"),
    [
        ("label,fold", "{class},1", "5", "has a single fold, 1, in its column fold, and --cross-validate takes two"),
        ("label,fold,split", "{class},{third},{half}", "3", "every fold validates in its turn; leave the column split"),
        ("label,fold", "{class},{some}", "3", "line 2: the fold of {image} is empty; fill it in, or"),
        ("label,fold", "{class},1e30", "3", "'1e30', no whole number from 0 to"),
        ("label,split", "{class},{half}", "3", "(train), and --cross-validate 3 makes splits of its own; leave one"),
        ("label", "{class}", "1000000", "has 12 images for 1000000 folds; give 12 folds or less"),
        ("label", "{class}", str(10**30), "has 12 images for 1000000"),
        ("label", "{class}", "7", "class 'dark' has 6 images for 7 folds, so a fold has none; give 6 folds or less"),
        ("label,patient", "{class},p{half}", "3", "has 2 patients for 3 folds; give 2 folds"),
    ],
)
def test_errors_name_what_was_given(
    data: Path, fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: str, cells: str, folds: str,
    message: str,
) -> None:  # fmt: skip
    """They name --cross-validate, which was given, and come before the settings of a million folds are made."""
    made: list[int] = []
    real = cross_validation.replace
    monkeypatch.setattr(cross_validation, "replace", lambda *a, **k: made.append(len(made)) or real(*a, **k))
    images = [line.split(",")[0] for line in data.read_text().splitlines()[1:]]
    lines = [f"path,{columns}"]
    for number, image in enumerate(images):
        third = number // 4
        values: dict[str, object] = {"third": third, "some": third if number else ""}
        values |= {"class": ("dark", "light")[number % 2], "half": ("train", "val")[number // 6]}
        lines.append(f"{data.parent / image},{cells.format(**values)}")
    own = table(tmp_path, *lines)
    result = fit("train", own, "--out", tmp_path / "cv", "--cross-validate", folds, "--preset", "debug")
    assert len(made) < 100
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert message.replace("{image}", f"{data.parent / images[0]}") in line
    assert "--fold" not in line
    assert not (tmp_path / "cv").exists()


def test_intervals() -> None:
    assert interval([0.5]) is None
    assert interval([1.0, 1.0, 1.0]) == [1.0, 1.0]
    assert interval([0.0, 1.0]) == pytest.approx([0.5 - 12.706 * 0.5, 0.5 + 12.706 * 0.5], rel=1e-3)
    assert interval([float(n % 2) for n in range(100)]) == pytest.approx([0.4015, 0.5985], abs=1e-3)


def test_the_table_of_one_fold() -> None:
    run = {"fold": 1, "training_images": 8, "validation_images": 4, "step": 3, "scores": {"loss": 0.25}}
    columns, rows = as_table(summary(2, {1: run}))
    assert columns == ("fold", "images", "step", "loss")
    assert rows == [("1", "8 + 4", "3", "0.2500"), ("mean", "", "", "0.2500"), ("95 %", "", "", "-")]
