"""Folders of images and of their labels: which belong together, and what is passed over. No pixel is read."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.data_sets import touch
from support.zarr_labels import zarr_with_labels

from fitcli.data.csv_listing import Labels
from fitcli.data.dataset import Dataset, load_dataset
from fitcli.data.paired_listing import holds_pairs
from fitcli.errors import DataError


def pairs(data: Dataset, root: Path) -> dict[str, dict[str, str]]:
    """Return the name of the file of labels by image, for each split."""
    return {
        split: {s.path.relative_to(root).as_posix(): s.target.relative_to(root).as_posix() for s in samples}
        for split, samples in (("train", data.train), ("val", data.validation), ("test", data.test))
        if samples
    }


def test_same_names_up_to_the_suffix(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.ome.tif", "images/b.1.png", "images/deep/a.svs", "images/c.tif", "notes.txt")
    touch(tmp_path, "labels/a.png", "labels/b.1.tif", "labels/deep/a.tiff", "labels/d.png", "labels/legend.qml")
    data = load_dataset(tmp_path, "files")
    found = pairs(data, tmp_path)
    assert found["train"] | found["val"] == {
        "images/a.ome.tif": "labels/a.png",
        "images/b.1.png": "labels/b.1.tif",
        "images/deep/a.svs": "labels/deep/a.tiff",
    }
    assert data.classes == ()
    assert data.notes == (
        "1 file passed over: labels/legend.qml",
        "1 image passed over, without labels: images/c.tif",
        "1 label file passed over, without an image: labels/d.png",
    )


@pytest.mark.parametrize("suffix", [".geojson", ".json", ".geojson.gz", ".JSON.gz"])
def test_polygons(tmp_path: Path, suffix: str) -> None:
    touch(tmp_path, "Images/a.tif", "Images/b.tif", f"Labels/a{suffix}", f"Labels/b{suffix}")
    found = pairs(load_dataset(tmp_path, "files"), tmp_path)
    assert found["train"] | found["val"] == {f"Images/{n}.tif": f"Labels/{n}{suffix}" for n in "ab"}


@pytest.mark.parametrize(
    "form", ["{split}/images/{file}|{split}/labels/{file}", "images/{split}/{file}|labels/{split}/{file}"]
)
def test_splits(tmp_path: Path, form: str) -> None:
    named = {"train": ("a", "b"), "Validation": ("c",), "test": ("a",)}
    for split, names in named.items():
        for name in names:
            touch(tmp_path, *(part.format(split=split, file=f"{name}.png") for part in form.split("|")))
    data = load_dataset(tmp_path, "files")
    assert [[s.path.stem for s in samples] for samples in (data.train, data.validation, data.test)] == [
        ["a", "b"],
        ["c"],
        ["a"],
    ]
    for sample in data.train + data.validation + data.test:
        own = sample.path.relative_to(tmp_path).as_posix()
        assert sample.target == tmp_path / own.replace("images", "labels")
    assert data.notes == ()


@pytest.mark.parametrize("folder", ["", "images"])
def test_labels_inside_of_images(tmp_path: Path, folder: str) -> None:
    for name in "abc":
        zarr_with_labels(tmp_path / folder / f"{name}.zarr", "cells")
    touch(tmp_path / folder, "plain.tif")
    data = load_dataset(tmp_path, "files")
    for sample in data.train + data.validation:
        assert sample.target == sample.path / "labels/cells"
    assert len(data.train + data.validation) == 3
    assert data.notes == (f"1 image passed over, without labels: {Path(folder) / 'plain.tif'}",)
    zarr_with_labels(tmp_path / folder / "d.zarr", "cells", "tissue")
    with pytest.raises(DataError, match=r"d.zarr: holds the label images cells, tissue"):
        load_dataset(tmp_path, "files")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["images/a.png", "images/a.tif", "labels/a.png"], "images: a.png and a.tif have the same name"),
        (["images/a.png", "labels/a.tif", "labels/a.geojson"], "labels: a.tif and a.geojson have the same name"),
        (["images/a.png", "labels/b.png"], r"no image with labels found \(1 image, 1 label file\)"),
        (["images/a.png"], r"no image with labels found \(1 image\)"),
        (["cat/a.png", "dog/a.png"], r"no image with labels found \(2 images\)"),
        (["notes.txt"], r"no image with labels found \(1 file\)"),
        (["images/a.png", "labels/a.png"], "there is one image; it needs two"),
        (
            ["images/a.png", "labels/a.png", "images/b.png", "labels/b.json"],
            r"polygons \(b.json\) and others label images",
        ),
    ],
)
def test_errors(tmp_path: Path, names: list[str], message: str) -> None:
    touch(tmp_path, *names)
    with pytest.raises(DataError, match=message) as raised:
        load_dataset(tmp_path, "files")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("labels", ["needed", "welcome", "ignored"])
@pytest.mark.parametrize("suffix", [".png", ".geojson.gz"])
def test_a_forgotten_task_does_not_learn_to_tell_images_from_labels(
    tmp_path: Path, labels: Labels, suffix: str
) -> None:
    touch(tmp_path, *(f"images/{name}.tif" for name in "abc"), *(f"labels/{name}{suffix}" for name in "abc"))
    with pytest.raises(DataError, match="holds images/ and labels/ with files of the same names"):
        load_dataset(tmp_path, labels)
    assert holds_pairs(tmp_path)


def test_classes_may_be_called_images_and_labels(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.png", "images/b.png", "labels/c.png", "labels/d.png")
    assert not holds_pairs(tmp_path)
    assert load_dataset(tmp_path).classes == ("images", "labels")
