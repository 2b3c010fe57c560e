"""Images that a CSV file names: relative to it or to a folder, with or without a suffix."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.data_sets import table, touch

from fitcli.data.dataset import load_dataset
from fitcli.data.image_names import NamedImages, without_suffix
from fitcli.errors import DataError


@pytest.mark.parametrize(
    ("name", "stem"),
    [("a.svs", "a"), ("a.ome.tif", "a"), ("TCGA-1.9C.svs", "TCGA-1.9C"), ("a.geojson.gz", "a"), ("a", "a")],
)
def test_suffixes(name: str, stem: str) -> None:
    assert without_suffix(name) == stem


def test_names_without_suffix(tmp_path: Path) -> None:
    touch(tmp_path, "sub/a.svs", "b.ome.tif", "b.txt")
    names = NamedImages(tmp_path / "data.csv")
    assert names.find("sub/a") == tmp_path / "sub/a.svs"
    assert names.find("b") == tmp_path / "b.ome.tif"
    assert names.find("a") is None, "another folder, without --images"


def test_a_folder_of_images(tmp_path: Path) -> None:
    slides = touch(tmp_path / "slides", "u1/a.svs", "u2/b.tif", "u2/c.tif", "u3/c.tif", "d.png", "d.svs")
    data = table(tmp_path, "path,label", "a,x", "u2/b.tif,x", "b.tif,y")
    names = NamedImages(data, slides)
    assert names.find("a") == slides / "u1/a.svs"
    assert names.find("b.tif") == names.find("u2/b.tif") == slides / "u2/b.tif"
    for name in ("c", "d"):
        with pytest.raises(DataError, match=f"{name} may be .* or .*; give the path with its suffix"):
            names.find(name)
    with pytest.raises(DataError, match="is listed as 'x' and as 'y'"):
        load_dataset(data, images=slides)


def test_keys_do_not_name_the_folder(tmp_path: Path) -> None:
    slides = touch(tmp_path / "slides", *(f"u{n}/{n}.svs" for n in range(6)))
    data = load_dataset(table(tmp_path, "path,label", *(f"{n},{'xy'[n % 2]}" for n in range(6))), images=slides)
    assert sorted(name for name, _, _ in data.listed) == list("012345")
    moved = slides.rename(tmp_path / "moved")
    assert load_dataset(tmp_path / "data.csv", images=moved).fingerprint == data.fingerprint


def test_what_is_not_there(tmp_path: Path) -> None:
    data = table(touch(tmp_path, "a/1.png", "b/1.png"), "path,label", "x,y")
    with pytest.raises(DataError, match=r"line 2: no file x in --images .*a, with or without a suffix"):
        load_dataset(data, images=tmp_path / "a")
    with pytest.raises(DataError, match="paths are relative to the CSV file, or to --images FOLDER"):
        load_dataset(data)
    with pytest.raises(DataError, match=r"--images .*none: no such folder"):
        load_dataset(data, images=tmp_path / "none")
    (tmp_path / "data.csv").unlink()
    with pytest.raises(DataError, match="--images goes with a CSV file"):
        load_dataset(tmp_path, images=tmp_path)


def test_labels_lie_beside_the_list_or_the_images(tmp_path: Path) -> None:
    slides = touch(tmp_path / "slides", "a.tif", "b.tif", "lab/b.png")
    touch(tmp_path / "here", "a.png")
    data = table(tmp_path / "here", "path,labels,split", "a,a.png,train", "b,lab/b.png,val")
    found = load_dataset(data, "files", images=slides)
    assert [sample.target for sample in found.train + found.validation] == [
        tmp_path / "here/a.png",
        slides / "lab/b.png",
    ]
