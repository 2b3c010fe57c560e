"""Data sets of objects in every form, and what is wrong with them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support.pictures import save

from fitcli.annotations.objects.object_set import ObjectSource
from fitcli.data.dataset import load_dataset
from fitcli.data.splitting import Splitting
from fitcli.errors import DataError


def images(folder: Path, *names: str) -> None:
    for name in names:
        save(folder / name, np.zeros((9, 9, 3), np.uint8))


def targets(path: Path) -> dict[str, ObjectSource | None]:
    dataset = load_dataset(path, "objects", training=False)
    return {sample.path.name: sample.target for sample in (*dataset.train, *dataset.validation, *dataset.test)}


def test_a_list_of_files(tmp_path: Path) -> None:
    images(tmp_path, "a.png", "b.png", "c.png")
    for name in ("a", "b"):
        (tmp_path / f"{name}.geojson").write_text("{}")
    path = tmp_path / "data.csv"
    path.write_text("path,objects,split\na.png,a.geojson,train\nb.png,b.geojson,val\nc.png,,train\n")
    assert targets(path) == {
        "a.png": ObjectSource(tmp_path / "a.geojson"), "b.png": ObjectSource(tmp_path / "b.geojson"), "c.png": None,
    }  # fmt: skip
    assert load_dataset(path, "objects").notes == ("1 of 3 images has no objects",)


def test_rows_of_objects(tmp_path: Path) -> None:
    images(tmp_path, "x/a.png", "x/b.png")
    path = tmp_path / "data.csv"
    path.write_text("path,x,y,label,split\nx/a.png,1,2,q,train\nx/a.png,3,4,q,train\nx/b.png,,,,val\n")
    assert targets(path) == {"a.png": ObjectSource(path, "x/a.png"), "b.png": ObjectSource(path, "x/b.png")}
    dataset = load_dataset(path, "objects")
    assert [sample.path.name for sample in dataset.validation] == ["b.png"]
    assert dataset.notes == ()


@pytest.mark.parametrize("where", [".", "images", "../images"])
def test_a_coco_file(tmp_path: Path, where: str) -> None:
    folder = tmp_path / "annotations"
    images(folder / where, "a.png", "b.png")
    path = folder / "coco.json"
    path.write_text(json.dumps({
        "images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}],
        "annotations": [], "categories": []
    }))  # fmt: skip
    assert targets(path) == {"a.png": ObjectSource(path, "a.png"), "b.png": ObjectSource(path, "b.png")}


@pytest.mark.parametrize(("left", "right"), [("images", "labels"), ("JPEGImages", "Annotations"), (".", ".")])
def test_folders(tmp_path: Path, left: str, right: str) -> None:
    images(tmp_path / left, "a.png", "b.png", "alone.png")
    (tmp_path / right).mkdir(exist_ok=True)
    for name in ("a.txt", "b.txt", "c.txt", "classes.txt"):
        (tmp_path / right / name).write_text("")
    found = targets(tmp_path)
    assert found == {f"{n}.png": ObjectSource(tmp_path / right / f"{n}.txt") for n in "ab"}
    notes = " ".join(load_dataset(tmp_path, "objects").notes)
    assert "alone.png" in notes
    assert "c.txt" in notes


def test_splits_of_yolo(tmp_path: Path) -> None:
    for split in ("train", "val"):
        images(tmp_path / "images" / split, "a.png")
        (tmp_path / "labels" / split).mkdir(parents=True)
        (tmp_path / "labels" / split / "a.txt").write_text("")
    (tmp_path / "data.yaml").write_text("names: [x]\n")
    dataset = load_dataset(tmp_path, "objects")
    assert (len(dataset.train), len(dataset.validation)) == (1, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,x,y,label\nnone.png,1,2,a\n", r"line 2: no file .*none\.png"),
        ("x,y,label\n1,2,a\n", "has no column path"),
        ("path,x,y,label,split\na.png,1,2,q,old\n", "split 'old' is none of train, val, test"),
        ("path,x,y,label,split\na.png,1,2,q,val\na.png,1,2,q,train\n", "another split than in line 2"),
        ("path,x,y,label,split\na.png,1,2,q,val\na.png,1,2,q\n", "line 3: has 4 of 5 fields, so its split is missing"),
        ("path,x,y,label,split\na.png,1,2,q\na.png,1,2,q,val\n", "line 2: has 4 of 5 fields, so its split is missing"),
        ("path,x,y,label\n,1,2,q\n", "line 2: path must not be empty"),
        ("path,label\na.png,q\n", "no image has objects"),
        ("name,label\na.png,q\n", "needs the columns path,objects"),
    ],
)
def test_unusable_lists(tmp_path: Path, text: str, message: str) -> None:
    images(tmp_path, "a.png")
    (tmp_path / "data.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        load_dataset(tmp_path / "data.csv", "objects")


def test_unusable_folders_and_files(tmp_path: Path) -> None:
    images(tmp_path / "images", "a.png")
    with pytest.raises(DataError, match="no image with objects found"):
        load_dataset(tmp_path, "objects")
    (tmp_path / "a.json").write_text('{"type": "FeatureCollection", "features": []}')
    with pytest.raises(DataError, match="is no COCO file"):
        load_dataset(tmp_path / "a.json", "objects")
    (tmp_path / "b.json").write_text("{")
    with pytest.raises(DataError, match=r"b\.json"):
        load_dataset(tmp_path / "b.json", "objects")
    with pytest.raises(DataError, match="no such data set"):
        load_dataset(tmp_path / "none", "objects")


@pytest.mark.parametrize("form", ["folder", "coco.json"])
def test_choices_of_columns_need_a_csv_file(tmp_path: Path, form: str) -> None:
    images(tmp_path, "images/a.png")
    (tmp_path / "coco.json").write_text('{"images": [], "annotations": [], "categories": []}')
    path = tmp_path if form == "folder" else tmp_path / form
    for choice in ({"images": tmp_path}, {"splitting": Splitting(group_by="case")}):
        with pytest.raises(DataError, match="is for a CSV file; leave it out"):
            load_dataset(path, "objects", **choice)  # type: ignore[arg-type]


def test_columns_of_images_beside_rows_of_objects(tmp_path: Path) -> None:
    """Folds, another column of patients, and a folder of images work as they do for a list of files."""
    images(tmp_path / "pixels", *(f"{number}.png" for number in range(6)))
    rows = [f"{n},{x},2,q,{n % 2},case{n // 2}" for n in range(6) for x in (1, 3)]
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(["path,x,y,label,fold,Case", *rows]) + "\n")
    folds = load_dataset(path, "objects", images=tmp_path / "pixels", splitting=Splitting(fold=1))
    assert [sample.path.name for sample in folds.validation] == ["1.png", "3.png", "5.png"]
    assert folds.train[0].target == ObjectSource(path, "0")
    dealt = load_dataset(path, "objects", images=tmp_path / "pixels", splitting=Splitting(group_by="Case"))
    held_out = {sample.patient for sample in dealt.validation}
    assert held_out
    assert held_out.isdisjoint(sample.patient for sample in dealt.train)
    assert {sample.patient for sample in (*dealt.train, *dealt.validation)} == {"case0", "case1", "case2"}
    with pytest.raises(DataError, match="has no column ward for --group-by"):
        load_dataset(path, "objects", images=tmp_path / "pixels", splitting=Splitting(group_by="ward"))


def test_a_plane_of_a_file_may_have_objects(tmp_path: Path) -> None:
    images(tmp_path, "a.png")
    path = tmp_path / "rows.csv"
    path.write_text("path,x,y,label\na.png#channels=0,1,2,q\na.png#channels=0,3,4,q\n")
    assert targets(path) == {"a.png#channels=0": ObjectSource(path, "a.png#channels=0")}


def test_an_image_of_two_patients(tmp_path: Path) -> None:
    images(tmp_path, "a.png")
    (tmp_path / "rows.csv").write_text("path,x,y,label,patient\na.png,1,2,q,p\na.png,3,4,q,r\n")
    with pytest.raises(DataError, match=r"line 3: a\.png has another patient than in line 2; keep one"):
        load_dataset(tmp_path / "rows.csv", "objects")


def test_files_of_other_formats_are_named(tmp_path: Path) -> None:
    images(tmp_path, "images/a.png", "images/b.png")
    for name in "ab":
        (tmp_path / "labels").mkdir(exist_ok=True)
        (tmp_path / f"labels/{name}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (tmp_path / "images/c.czi").touch()
    notes = load_dataset(tmp_path, "objects").notes
    assert any("c.czi; it is a Zeiss CZI image" in note for note in notes), notes
