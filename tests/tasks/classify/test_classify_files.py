"""Where heat maps and tables go is decided before any image is read."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from fitcli.errors import FitError
from fitcli.files.output_names import output_names
from fitcli.patches.preprocessing import Preprocessing
from fitcli.runs.config import RunConfig
from fitcli.runs.targets import Target
from fitcli.tasks.classify.classify_files import check_csv, plan_heatmaps, write_csv
from fitcli.tasks.classify.config import ClassifyDetails
from models.presets import classifier_preset


def test_heat_maps_go_to_a_file_or_into_a_folder_under_different_names(tmp_path: Path) -> None:
    images = [tmp_path / "x/a.tif", tmp_path / "y/A.tif", tmp_path / "b.png"]
    heat = tmp_path / "heat"
    assert plan_heatmaps(images, None) == [None] * 3
    assert plan_heatmaps(images[:1], tmp_path / "a.jpg") == [tmp_path / "a.jpg"]
    assert plan_heatmaps(images, heat) == [heat / "x/a.png", heat / "y/A.png", heat / "b.png"]
    assert not heat.exists()
    (tmp_path / "folder.tif").mkdir()
    assert plan_heatmaps(images[:1], tmp_path / "folder.tif") == [tmp_path / "folder.tif" / "a.png"]


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("a.png", "one file for 2 images; give a folder"),
        ("a.gif", r"a\.gif: name it \.png"),
        ("file", "is not a folder"),
        ("", "would replace"),
    ],
)
def test_heat_maps_that_cannot_be_written_are_refused(tmp_path: Path, out: str, message: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FitError, match=message):
        plan_heatmaps([tmp_path / "a.png", tmp_path / "b.png"], tmp_path / out)


def test_heat_maps_of_equal_names_lie_in_folders_as_features_do(tmp_path: Path) -> None:
    images, out = [tmp_path / "x/a.tif", tmp_path / "y/a.tif"], tmp_path / "out"
    maps = plan_heatmaps(images, out)
    assert maps == [*output_names("--out", out, images, ".png")]
    with pytest.raises(FitError, match=r"--heatmap .*a\.tif and .*a\.png have the same name"):
        plan_heatmaps([tmp_path / "a.tif", tmp_path / "a.png"], out)


def test_a_table_does_not_replace_an_image(tmp_path: Path) -> None:
    check_csv(None, [])
    check_csv(tmp_path / "out.csv", [tmp_path / "a.png"])
    with pytest.raises(FitError, match="is a folder"):
        check_csv(tmp_path, [])
    with pytest.raises(FitError, match="would replace"):
        check_csv(tmp_path / "a.png", [tmp_path / "a.png"])


@pytest.mark.parametrize("several", [False, True])
def test_columns_of_a_table(tmp_path: Path, several: bool) -> None:
    targets = (Target("kind", "single-label", ("cat", "dog")), Target("marks", "multi-label", ("a", "b")))
    model = classifier_preset("debug", 3, 2)
    config = RunConfig(
        model=replace(model, classes=4, targets=(2, 2)) if several else model,
        preprocessing=Preprocessing(channels=3, dtype="uint8", mean=(0.0,) * 3, std=(1.0,) * 3),
        classes=("cat", "dog"),
        details=ClassifyDetails(all_targets=targets if several else ()),
    )
    write_csv(tmp_path / "out.csv", [["a.png", "dog", "0.1", "0.9"]], config)
    header, row = csv.reader((tmp_path / "out.csv").open())
    expected = ["label:kind", "labels:marks", "kind:cat", "kind:dog", "marks:a", "marks:b"]
    assert header == ["path", *(expected if several else ["label", "cat", "dog"])]
    assert row == ["a.png", "dog", "0.1", "0.9"]
