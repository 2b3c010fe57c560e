"""`--rare-windows`: training windows around rare classes, from the labels to the places of the windows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from support.command_line import Fit
from support.data_sets import table
from support.pictures import save
from support.polygons import collection, feature, square, write
from support.runs import assert_same_run
from support.small_runs import at, die, quietly, run_of

from fitcli.data.place import draw_place
from fitcli.distributed.world import Axis
from fitcli.errors import FitError
from fitcli.images.read_as import open_as
from fitcli.images.window import Window
from fitcli.tasks.context import TrainingRun
from fitcli.tasks.registry import find_task
from fitcli.training.checkpointing.saved_states import saved_steps
from fitcli.training.loop import train
from fitcli.training.prepare import _compare_data as compare_data

SIDE, PATCH, AT = 4096, 20, (1000, 3000)
"""Sides of the image and of the patch of a rare class, and where the patch begins."""

LARGE = {"task": "segment", "size": 256, "steps": 1, "batch_size": 1}


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A large image with a small patch of a rare class, one without, and one without labels."""
    folder = tmp_path_factory.mktemp("large")
    labels = np.zeros((SIDE, SIDE, 1), np.uint8)
    labels[AT[0] : AT[0] + PATCH, AT[1] : AT[1] + PATCH] = 1
    save(folder / "labels.tif", labels)
    save(folder / "plain.tif", labels * 0)
    write(folder / "labels.geojson", collection(feature(square(AT[1], AT[0], PATCH), "rare")))
    write(folder / "plain.geojson", collection())
    save(folder / "a.tif", labels, 0.5)
    for name in ("b", "c", "d"):
        (folder / f"{name}.tif").write_bytes((folder / "a.tif").read_bytes())
    for suffix in ("tif", "geojson"):
        rows = f"a.tif,labels.{suffix},train\nb.tif,plain.{suffix},train\nc.tif,,train\nd.tif,labels.{suffix},val\n"
        (folder / f"{suffix}.csv").write_text(f"path,labels,split\n{rows}")
    return folder


def share_with_patch(run: TrainingRun, number: int, draws: int) -> float:
    """Return the share of the windows of a training image that hold all or a part of the patch."""
    reading, sample = find_task("segment").objective(run).reading, run.dataset.train[number]
    patch, found = Window(*AT, PATCH, PATCH), 0
    with open_as(sample.path, reading.preprocessing.read_as) as image:
        for epoch in range(draws):
            place = draw_place(image, reading.layout, reading.rules, epoch, number, Axis(), sample.anchors)
            found += place.window.intersection(patch).area > 0
    return found / draws


BY_AREA = ((256 + PATCH) / (SIDE - 256)) ** 2
"""Probability that a random window holds a part of the patch: 0.5%."""


@pytest.mark.more
def test_half_of_the_anchored_windows_hold_one_of_two_classes(large: Path, tmp_path: Path) -> None:
    run = run_of(large / "tif.csv", tmp_path / "run", rare_windows=0.5, **LARGE)
    # Four standard deviations.
    assert share_with_patch(run, 0, 600) == pytest.approx(0.25 + 0.75 * BY_AREA, abs=0.071)
    assert share_with_patch(run, 1, 150) < 0.04, "a class that the image does not have"
    assert share_with_patch(run, 2, 150) < 0.04, "an image without labels"


@pytest.mark.parametrize("kind", ["tif", "geojson"])
@pytest.mark.parametrize(("how", "factor"), [({"level": 1}, 2), ({"mpp": 2.0}, 4)], ids=str)
def test_positions_are_those_of_the_image_as_it_is_read(
    large: Path, tmp_path: Path, kind: str, how: dict[str, Any], factor: int
) -> None:
    more = {"elsewhere": "ground"} if kind == "geojson" else {}
    run = run_of(large / f"{kind}.csv", tmp_path / "run", rare_windows=0.5, **LARGE, **how, **more)
    assert [len(sample.anchors) for sample in run.dataset.train] == [2, 1, 0]
    (top, left), side = (place // factor for place in AT), PATCH // factor
    ground, rare = run.dataset.train[0].anchors
    assert ground.max() > SIDE // factor / 2
    assert ground.max() < SIDE // factor
    inside = rare - (top, left)
    assert inside.min() >= 0
    assert inside.max() < side


def test_without_the_option_areas_decide(large: Path, tmp_path: Path) -> None:
    run = run_of(large / "tif.csv", tmp_path / "run", **LARGE)
    assert not any(sample.anchors for sample in run.dataset.train)
    assert share_with_patch(run, 0, 600) == pytest.approx(BY_AREA, abs=0.012)
    (hint,) = [line for line in run.understood if "--rare-windows" in line]
    assert hint.startswith("below 1% of the labelled pixels: 1; --rare-windows 0.3 draws 30% of the windows around")


def test_no_hint_where_it_does_not_help(large: Path, tmp_path: Path) -> None:
    for settings in ({"size": None}, {"rare_windows": 0.1}):
        run = run_of(large / "tif.csv", tmp_path / "run", **{**LARGE, **settings})
        assert not [line for line in run.understood if "--rare-windows" in line]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Five images of 64 x 48 pixels with a rare class that is brighter; one has no labels, one validates."""
    rng, folder = np.random.default_rng(0), tmp_path / "data"
    for number in range(5):
        labels = np.zeros((64, 48, 1), np.uint8)
        labels[10 * number : 10 * number + 8, 7 * number : 7 * number + 12] = 1
        save(folder / f"{number}.png", rng.integers(0, 100, (64, 48, 3), np.uint8) + 100 * labels)
        save(folder / f"labels{number}.png", labels)
    return table(folder, *listed({1, 2, 3}))


def listed(labelled: set[int]) -> list[str]:
    """Return the lines of a CSV file in which some training images have labels."""
    train = [f"{number}.png,{f'labels{number}.png' if number in labelled else ''},train" for number in range(4)]
    return ["path,labels,split", *train, "4.png,labels4.png,val"]


SMALL = {"task": "segment", "size": 16, "steps": 6, "rare_windows": 0.7, "save_every": 2}


@pytest.mark.more
def test_a_resumed_run_draws_the_same_windows(data: Path, tmp_path: Path) -> None:
    whole, parts, without = tmp_path / "whole", tmp_path / "parts", tmp_path / "without"
    train(run_of(data, whole, **SMALL), quietly)
    with pytest.raises(SystemError):
        train(run_of(data, parts, **SMALL), at(3, die))
    assert 0 < saved_steps(parts)[0] < 6
    resumed = run_of(data, parts, resume=True)
    assert sum(bool(sample.anchors) for sample in resumed.dataset.train) >= 3
    train(resumed, quietly, resume=True)
    assert_same_run(parts, whole)
    train(run_of(data, without, **{**SMALL, "rare_windows": 0.0}), quietly)
    with pytest.raises(AssertionError):
        assert_same_run(without, whole)


@pytest.mark.walk(1)
@pytest.mark.parametrize("labelled", [{0}, {1, 3}], ids=str)
def test_a_resumed_run_can_go_on_with_other_labels(data: Path, tmp_path: Path, labelled: set[int]) -> None:
    train(run_of(data, tmp_path / "run", **SMALL), quietly)
    table(data.parent, *listed(labelled))
    resumed = run_of(data, tmp_path / "run", resume=True, accept=True, steps=8)
    assert [len(sample.anchors) for sample in resumed.dataset.train] == [2 * (n in labelled) for n in range(4)]
    train(resumed, quietly, resume=True)


def test_runs_without_the_option_resume_without_it(data: Path, tmp_path: Path) -> None:
    """Settings of earlier runs do not name the option."""
    folder = tmp_path / "run"
    train(run_of(data, folder, **{**SMALL, "rare_windows": 0.0}), quietly)
    path = folder / "training/settings.json"
    settings = json.loads(path.read_text())
    assert settings.pop("rare_windows") == 0
    path.write_text(json.dumps(settings))
    resumed = run_of(data, folder, resume=True)
    assert not any(sample.anchors for sample in resumed.dataset.train)
    with pytest.raises(FitError, match=r"--rare-windows: the run was begun with rare_windows = 0\.0, not 0\.5"):
        run_of(data, folder, resume=True, task="segment", rare_windows=0.5)


def test_without_windows_it_is_refused(data: Path, tmp_path: Path, fit: Fit) -> None:
    common = ["train", data, "--out", tmp_path / "run", "--task", "segment", "--preset", "debug", "--rare-windows"]
    result = fit(*common, 0.5)
    assert result.exit_code != 0
    assert "--rare-windows is a share of random windows; give their --size, or leave it out" in result.stderr
    for share in (-0.1, 1.1):
        assert fit(*common, share, "--size", 16).exit_code == 2
    assert not (tmp_path / "run").exists()


class Pair:
    """Two ranks, of which the other has these facts; None for those of this one."""

    size = 2

    def __init__(self, other: dict[str, str] | None = None) -> None:
        self.other, self.own = other, dict[str, str]()

    def gather(self, value: dict[str, str]) -> list[dict[str, str]]:
        self.own = value
        return [value if self.other is None else self.other, value]


def test_ranks_with_other_labels_are_told_apart(data: Path, tmp_path: Path) -> None:
    run = run_of(data, tmp_path / "run", **SMALL)
    world: Any = Pair()
    compare_data(replace(run, world=world), [])
    save(data.parent / "labels2.png", np.eye(64, 48, dtype=np.uint8)[:, :, None])
    other = run_of(data, tmp_path / "run", **SMALL)
    with pytest.raises(FitError, match="rank 1 differs in the positions that windows are drawn around: it has"):
        # The shares of the classes differ, too, but have no effect on this run.
        compare_data(replace(other, config=run.config, world=cast(Any, Pair(world.own))), [])
