"""Which images are scored, which outputs would replace one, and how a run took its images in training."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from fitcli.data.dataset import load_dataset
from fitcli.errors import DataError, FitError
from fitcli.evaluation.scored_images import chosen_images, refuse_replacing, was_trained_whole, was_turned
from fitcli.runs.config import RunConfig
from fitcli.tasks.evaluation_result import Split
from fitcli.tasks.load import load_config
from fitcli.tasks.registry import find_task


@pytest.fixture
def config(trained: Path) -> RunConfig:
    return load_config(trained)


@pytest.mark.parametrize(("split", "count"), [("train", 10), ("val", 2), ("all", 12)])
def test_images_of_a_split(dataset: Path, trained: Path, config: RunConfig, split: Split, count: int) -> None:
    data, samples = chosen_images(dataset, trained, config, find_task("classify"), split, None, None)
    assert len(samples) == count
    assert {sample.path for sample in samples} <= {sample.path for sample in (*data.train, *data.validation)}


def test_a_split_without_images(dataset: Path, trained: Path, config: RunConfig) -> None:
    with pytest.raises(DataError, match=r"no images in --split test \(it has 10 train, 2 val, 0 test\)"):
        chosen_images(dataset, trained, config, find_task("classify"), "test", None, None)


def test_patients_of_a_task_without_classes(dataset: Path, trained: Path, config: RunConfig) -> None:
    with pytest.raises(FitError, match="--per scores no runs of --task"):
        chosen_images(dataset, trained, config, find_task("diffusion"), "all", None, "patient")


def test_an_image_is_not_replaced(dataset: Path, tmp_path: Path) -> None:
    samples = load_dataset(dataset).validation
    refuse_replacing(samples, None, tmp_path / "scores.csv")
    (tmp_path / "link.csv").symlink_to(samples[1].path)
    with pytest.raises(FitError, match="is an image of the data set and would be replaced"):
        refuse_replacing(samples, None, tmp_path / "link.csv")


def test_how_a_run_was_trained(trained: Path, tmp_path: Path) -> None:
    assert was_trained_whole(trained)
    assert was_turned(trained)
    run = shutil.copytree(trained, tmp_path / "run")
    settings = run / "training/settings.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"size": 32, "augment": ""}))
    assert not was_trained_whole(run)
    assert not was_turned(run)
    assert not was_trained_whole(tmp_path)
    assert not was_turned(tmp_path)
