"""Which heat maps are written, and where."""

from __future__ import annotations

from pathlib import Path

import pytest

from fitcli.errors import FitError
from fitcli.files.output_names import output_names
from fitcli.runs.targets import Target
from fitcli.tasks.classify.heatmap_files import HeatmapChoice, HeatmapFile, choose_heatmaps, file_names, plan_heatmaps

ONE = (Target("label", "single-label", ("a", "b")),)
SEVERAL = (Target("grade", "single-label", ("low", "high")), Target("marks", "multi-label", ("ring", "all")))


def test_what_is_shown() -> None:
    assert choose_heatmaps(ONE, None, None) == HeatmapChoice()
    assert choose_heatmaps(ONE, None, "b") == HeatmapChoice(0, None, ("b",))
    assert choose_heatmaps(ONE, None, "all") == HeatmapChoice(0, None, ("a", "b"))
    assert choose_heatmaps(SEVERAL, None, None) == HeatmapChoice(0, "grade")
    assert choose_heatmaps(SEVERAL, "marks", "ring") == HeatmapChoice(1, "marks", ("ring",))
    assert choose_heatmaps(SEVERAL, "marks", "all") == HeatmapChoice(1, "marks", ("ring", "all"))


@pytest.mark.parametrize(
    ("targets", "target", "name", "message"),
    [
        (ONE, None, "c", "--heatmap-class c: the run has a, b; give one of these, or all$"),
        (SEVERAL, None, "ring", "the target grade has low, high; .* or all of a target, with --heatmap-target"),
        (SEVERAL, "marks", "low", "the target marks has ring, all; give one of these, or all$"),
        (SEVERAL, "size", None, "--heatmap-target size: the run knows grade, marks"),
    ],
)
def test_choices_that_are_none(targets: tuple[Target, ...], target: str | None, name: str, message: str) -> None:
    with pytest.raises(FitError, match=message):
        choose_heatmaps(targets, target, name)


@pytest.mark.parametrize(
    ("classes", "names"),
    [
        (("a", "b"), ["a", "b"]),
        (("A", "a", "a-2"), ["A", "a-2", "a-2-3"]),
        (("x/y", "x?y", ""), ["x_y", "x_y-2", "-3"]),
        ((" ", "ä", "腫"), ["-1", "ä", "腫"]),
        (("z" * 300, "z" * 301), ["z" * 40, "z" * 40 + "-2"]),
        (("..", "."), ["__", "_"]),
    ],
)
def test_names_of_files_differ_and_stay_in_their_folder(classes: tuple[str, ...], names: list[str]) -> None:
    assert file_names(classes) == names


def test_files(tmp_path: Path) -> None:
    images = [tmp_path / "x/1.tif", tmp_path / "x/2.tif"]
    both = HeatmapChoice(0, None, ("a", "b/"))
    assert plan_heatmaps(images, None) == [(), ()]
    folder = tmp_path / "maps"
    assert plan_heatmaps(images, folder) == [
        (HeatmapFile(folder / "1.png"),), (HeatmapFile(folder / "2.png"),)
    ]  # fmt: skip
    assert plan_heatmaps(images[:1], folder, both) == [
        (HeatmapFile(folder / "a/1.png", ("a",)), HeatmapFile(folder / "b_/1.png", ("b/",)))
    ]
    assert plan_heatmaps(images[:1], tmp_path / "h.jpg", both) == [
        (HeatmapFile(tmp_path / "h-a.jpg", ("a",)), HeatmapFile(tmp_path / "h-b_.jpg", ("b/",)))
    ]
    for layer in ("h.tif", "h.ome.tif", "h.zarr"):
        assert plan_heatmaps(images[:1], tmp_path / layer, both) == [(HeatmapFile(tmp_path / layer, ("a", "b/")),)]


def test_no_picture_of_a_class_replaces_the_image(tmp_path: Path) -> None:
    image = tmp_path / "h-a.png"
    image.touch()
    with pytest.raises(FitError, match="would replace"):
        plan_heatmaps([image], tmp_path / "h.png", HeatmapChoice(0, None, ("a", "b")))


def test_the_document_says_unit_and_scale() -> None:
    evidence, layer = HeatmapFile(Path("a.png")), HeatmapFile(Path("a.tif"), ("x", "y"))
    assert evidence.document(None)["colors"] == {"lowest": 0.0, "highest": 1000.0, "scale": "log(1 + |value|)"}
    assert layer.document("grade") == {
        "path": "a.tif",
        "shows": "contribution",
        "target": "grade",
        "classes": ["x", "y"],
        "unit": "logit if the whole image were like it",
        "colors": None,
    }


def paths_of(images: list[Path], out: Path) -> list[Path]:
    return [each.path for files in plan_heatmaps(images, out) for each in files]


def test_heat_maps_go_to_a_file_or_into_a_folder_under_different_names(tmp_path: Path) -> None:
    images = [tmp_path / "x/a.tif", tmp_path / "y/A.tif", tmp_path / "b.png"]
    heat = tmp_path / "heat"
    assert plan_heatmaps(images, None) == [()] * 3
    assert paths_of(images[:1], tmp_path / "a.jpg") == [tmp_path / "a.jpg"]
    assert paths_of(images, heat) == [heat / "x/a.png", heat / "y/A.png", heat / "b.png"]
    assert not heat.exists()
    (tmp_path / "folder.tif").mkdir()
    assert paths_of(images[:1], tmp_path / "folder.tif") == [tmp_path / "folder.tif" / "a.png"]


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
    assert paths_of(images, out) == [*output_names("--out", out, images, ".png")]
    with pytest.raises(FitError, match=r"--heatmap .*a\.tif and .*a\.png have the same name"):
        plan_heatmaps([tmp_path / "a.tif", tmp_path / "a.png"], out)
