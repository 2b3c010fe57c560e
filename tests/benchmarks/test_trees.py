"""The data set of trees is that of the files, and found trees are scored."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.learning import trees

BOX = "<object><name>Alive</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"


def package(folder: Path) -> Path:
    """Write images with the names of the package: the large one has a tree on each side of the border."""
    folder.mkdir()
    for name, width, boxes in (
        (trees.LARGE, 1000, [(10, 10, 30, 30), (930, 5, 950, 25)]),
        (trees.TEST, 60, [(5, 5, 25, 25), (30, 30, 50, 50)]),
        *((name, 50, [(1, 2, 21, 22)]) for name in trees.SMALL),
    ):
        Image.new("RGB", (width, 60)).save(folder / f"{name}.png")
        objects = "".join(BOX.format(*box) for box in boxes)
        (folder / f"{name}.xml").write_text(f"<annotation>{objects}</annotation>")
    return folder


def test_the_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees, "NAMES", 2)
    listing = trees.make_data(package(tmp_path / "data"), tmp_path)
    assert trees.make_data(tmp_path / "none", tmp_path) == listing, "nothing is written again"
    with listing.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows if row["split"] == "train"].count("left-7.png") == 1
    assert {row["path"] for row in rows if row["split"] == "train"} == {
        *(f"left-{number}.png" for number in range(8)),
        *(f"{name}-{number}.png" for name in trees.SMALL for number in range(2)),
    }
    own = next(row for row in rows if row["split"] == "val")
    assert [float(own[side]) for side in trees.SIDES] == [0, 5, 14, 25], "clipped at the border"
    with Image.open(tmp_path / "val.png") as image:
        assert image.size == (1000 - trees.BORDER, 60)


def test_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees, "NAMES", 1)
    listing = trees.make_data(package(tmp_path / "data"), tmp_path)
    heading = "xmin,ymin,xmax,ymax,score\n"
    (tmp_path / "val.csv").write_text(f"{heading}0,5,14,25,0.8\n20,5,40,25,0.2\n")
    # One is right, one is right and below the threshold of val, one is wrong.
    (tmp_path / "test.csv").write_text(f"{heading}5,5,25,20,0.9\n30,30,50,50,0.3\n0,40,20,60,0.6\n")
    scores = trees.score(listing, tmp_path)
    assert scores["threshold"] == pytest.approx(0.5)
    assert (scores["true"], scores["found"], scores["precision"], scores["recall"]) == (2, 2, 0.5, 0.5)
    assert np.isclose(scores["best_f1"], 0.8)


def test_named_folders() -> None:
    assert trees.named_folder("FCOS=a/b") == ("FCOS", Path("a/b"))
    with pytest.raises(Exception, match="is not NAME=FOLDER"):
        trees.named_folder("FCOS")
