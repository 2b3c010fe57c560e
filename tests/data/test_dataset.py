"""The images of a data set, those that are held out, and errors about unusable data sets. No pixel is read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from support.data_sets import labelled, table, touch
from support.pictures import save

from fitcli.data.dataset import Sample, load_dataset
from fitcli.errors import DataError


def numbered(folder: Path, **counts: int) -> Path:
    return touch(folder, *(f"{label}/{number:03}.png" for label, count in counts.items() for number in range(count)))


def names(samples: Iterable[Sample], root: Path) -> set[str]:
    return {sample.path.relative_to(root).as_posix() for sample in samples}


def test_a_folder_per_class(tmp_path: Path) -> None:
    data = load_dataset(touch(tmp_path, "cat/a.png", "cat/deep/er/b.tif", "dog/c.jpg", "dog/d.svs"))
    assert data.classes == ("cat", "dog")
    assert labelled(data) == {"a.png": "cat", "b.tif": "cat", "c.jpg": "dog", "d.svs": "dog"}


@pytest.mark.parametrize("word", ["val", "valid", "Validation"])
def test_folders_for_training_and_validation(tmp_path: Path, word: str) -> None:
    touch(tmp_path, "train/cat/a.png", "train/dog/b.png", f"{word}/cat/c.png", f"{word}/dog/d.png", "test/cat/e.png")
    data = load_dataset(tmp_path)
    assert names(data.train, tmp_path) == {"train/cat/a.png", "train/dog/b.png"}
    assert names(data.validation, tmp_path) == {f"{word}/cat/c.png", f"{word}/dog/d.png"}
    assert labelled(data) == {"a.png": "cat", "b.png": "dog", "c.png": "cat", "d.png": "dog"}


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    assert load_dataset(numbered(tmp_path, train=3, bus=3)).classes == ("bus", "train")


def test_zarr_folders_are_one_image_each(tmp_path: Path) -> None:
    for label in ("a", "b"):
        for number in range(2):
            save(tmp_path / label / f"{number}.zarr", np.zeros((1100, 30, 1), np.uint8))
    assert (tmp_path / "a/0.zarr/1").is_dir(), "the image has several levels, each a zarr array of its own"
    data = load_dataset(tmp_path)
    assert names(data.train + data.validation, tmp_path) == {"a/0.zarr", "a/1.zarr", "b/0.zarr", "b/1.zarr"}


def test_other_files_are_left_out(tmp_path: Path) -> None:
    numbered(tmp_path, a=3, b=3)
    touch(tmp_path, "large.tif", "truth.json", ".git/x.png", "a/.hidden.png", "a/notes.txt", "a/.cache/y.png")
    (tmp_path / "empty").mkdir()
    data = load_dataset(tmp_path)
    assert data.classes == ("a", "b")
    assert len(data.train + data.validation) == 6


def test_a_zarr_beside_the_classes_is_no_class(tmp_path: Path) -> None:
    save(numbered(tmp_path, a=3, b=3) / "large.zarr", np.zeros((1100, 30, 1), np.uint8))
    assert load_dataset(tmp_path).classes == ("a", "b")


def test_a_fraction_of_every_class_is_held_out(tmp_path: Path) -> None:
    data = load_dataset(numbered(tmp_path, many=50, some=10, two=2))
    held = [sum(sample.target == label for sample in data.validation) for label in range(3)]
    kept = [sum(sample.target == label for sample in data.train) for label in range(3)]
    assert (held, kept) == ([10, 2, 1], [40, 8, 1])
    assert not names(data.train, tmp_path) & names(data.validation, tmp_path)


def test_the_split_does_not_follow_the_order_of_the_names(tmp_path: Path) -> None:
    held = [int(s.path.stem) for s in load_dataset(numbered(tmp_path, a=100, b=2)).validation if s.target == 0]
    assert len(held) == 20
    assert 25 < np.mean(held) < 75
    assert min(held) < 30
    assert max(held) > 70


def test_the_split_of_a_moved_data_set_is_the_same(tmp_path: Path) -> None:
    here, there = numbered(tmp_path / "here", a=20, b=20), numbered(tmp_path / "other/there", a=20, b=20)
    assert names(load_dataset(here).validation, here) == names(load_dataset(there).validation, there)


def test_adding_images_moves_few_others(tmp_path: Path) -> None:
    before = names(load_dataset(numbered(tmp_path, a=100, b=10)).validation, tmp_path)
    after = names(load_dataset(numbered(tmp_path, a=110, b=10)).validation, tmp_path)
    old = {f"a/{number:03}.png" for number in range(100)}
    assert len((before ^ after) & old) <= 10
    assert {name for name in before if name.startswith("b")} == {name for name in after if name.startswith("b")}


def test_links_to_the_same_image_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "one/a.png", "b.png")
    (tmp_path / "two").symlink_to(tmp_path / "one")
    with pytest.raises(
        DataError, match=r"two/a\.png is listed twice \(the other time as .*one/a\.png\), in lines 2 and 3; keep one"
    ):
        load_dataset(table(tmp_path, "path,label", "one/a.png,x", "two/a.png,x", "b.png,y"))
    with pytest.raises(DataError, match="listed twice"):
        load_dataset(table(tmp_path, "path,label", "one/a.png,x", "two/../one/a.png,x", "b.png,y"))


@pytest.mark.parametrize("label", ["x", "y"])
def test_a_link_in_a_class_folder_is_named_with_its_target(tmp_path: Path, label: str) -> None:
    touch(tmp_path, "x/a.png", "y/b.png")
    (tmp_path / label / "link.png").symlink_to(tmp_path / "x" / "a.png")
    with pytest.raises(DataError) as caught:
        load_dataset(tmp_path)
    assert all(name in str(caught.value) for name in ("x/a.png", f"{label}/link.png"))


def test_a_table_with_a_split(tmp_path: Path) -> None:
    touch(tmp_path, *"abcdefg")
    data = load_dataset(
        table(tmp_path, "path,label,split", "a,x,train", "b,y,TRAIN", "c,x,val", "d,y,validation", "e,y,test", "f,y,")
    )
    assert names(data.train, tmp_path) == {"a", "b", "f"}
    assert names(data.validation, tmp_path) == {"c", "d"}


def test_a_table_that_names_only_test_images(tmp_path: Path) -> None:
    images = [f"{label}{number}" for label in "xy" for number in range(10)]
    touch(tmp_path, *images)
    lines = [f"{image},{image[0]},{'test' if image in ('x3', 'y0', 'y7') else ''}" for image in images]
    data = load_dataset(table(tmp_path, "path,label,split", *lines))
    assert names(data.test, tmp_path) == {"x3", "y0", "y7"}
    assert sorted(name[0] for name in names(data.validation, tmp_path)) == ["x", "x", "y", "y"]
    assert len(data.train) == 13


def test_a_table_without_validation_images(tmp_path: Path) -> None:
    touch(tmp_path, "a", "b")
    assert load_dataset(table(tmp_path, "path,label,split", "a,x,train", "b,y,train")).validation == ()


def test_a_missing_or_empty_data_set(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path, reason in ((tmp_path / "none", "no such data set"), (tmp_path / "empty", "no images found")):
        with pytest.raises(DataError, match=f"{path}: {reason}.*; give a folder"):
            load_dataset(path)
    with pytest.raises(DataError, match="no images found"):
        load_dataset(table(tmp_path, "path,label"))


def test_too_few_classes_or_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="two classes or more, found only 'a'"):
        load_dataset(numbered(tmp_path / "one", a=5))
    with pytest.raises(DataError, match="class 'b' has one image"):
        load_dataset(numbered(tmp_path / "single", a=5, b=1))
    with pytest.raises(DataError, match="no training image of class 'b'"):
        load_dataset(touch(tmp_path / "split", "train/a/1.png", "val/a/2.png", "val/b/3.png"))


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    for number in range(4):
        touch(tmp_path, f"{'ab'[number % 2]}/{number}\udcff.png")
    dataset = load_dataset(tmp_path)
    assert len(dataset.train) == len(dataset.validation) == 2
    assert all("\udcff" in sample.path.name for sample in dataset.train)


def test_one_file_under_two_labels(tmp_path: Path) -> None:
    numbered(tmp_path, a=3, b=3)
    (tmp_path / "b/link.png").symlink_to(tmp_path / "a/000.png")
    with pytest.raises(DataError, match="as 'a' and as 'b'"):
        load_dataset(tmp_path)


@pytest.mark.parametrize(
    ("fingerprint", "names", "lines"),
    [
        ("d6ed778e90847", [f"{label}/{number}.png" for label in ("cat", "Dog") for number in range(5)], []),
        (
            "cbfee47564b5a",
            [f"{s}/{c}/sub/{n}.tif" for s in ("train", "val") for c in ("cat", "Dog") for n in range(2)],
            [],
        ),
        ("c2d1bfbe78356", [], ["path,label", *(f"f/cat/{n}.png,{'xy'[n % 2]}" for n in range(5))]),
        ("85db7d560a174", [], ["path,label:G,labels:m", *(f"f/cat/{n}.png,{'xy'[n % 2]},p|q" for n in range(5))]),
    ],
)
def test_the_fingerprint_of_earlier_versions(
    tmp_path: Path, fingerprint: str, names: list[str], lines: list[str]
) -> None:
    """A run that was begun with version 0.1 resumes on the same data."""
    touch(tmp_path, *names, *(f"f/cat/{number}.png" for number in range(5 if lines else 0)))
    data = table(tmp_path, *lines) if lines else tmp_path
    assert load_dataset(data).fingerprint.startswith(fingerprint)
