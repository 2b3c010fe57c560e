"""Splits of a data set: patients stay together, classes are spread evenly, and what contradicts itself is refused."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.data_sets import table, touch
from support.pictures import save
from support.polygons import collection, feature, square, write

from fitcli.data.csv_listing import NO_GROUPS, Labels
from fitcli.data.dataset import Dataset, load_dataset
from fitcli.data.splitting import Splitting
from fitcli.errors import DataError


def patients(count: int, seed: int, mixed: bool = False) -> list[str]:
    """Lines of a CSV file: patients with 1 to 6 images each, of one class each unless `mixed`."""
    rng, lines = np.random.default_rng(seed), ["path,label,patient"]
    for patient in range(count):
        own = "abc"[rng.choice(3, p=(0.5, 0.3, 0.2))]
        for image in range(int(rng.integers(1, 7))):
            label = "abc"[rng.integers(3)] if mixed and rng.random() < 0.3 else own
            lines.append(f"{patient}-{image},{label},p{patient}")
    return lines


def made(folder: Path, lines: list[str]) -> Path:
    touch(folder, *(line.split(",")[0] for line in lines[1:]))
    return table(folder, *lines)


def split_of(data: Dataset) -> dict[str, str]:
    return {sample.key: split for split in ("train", "validation", "test") for sample in getattr(data, split)}


def check_apart(data: Dataset) -> None:
    assert not {s.patient for s in data.train} & {s.patient for s in data.validation}


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_no_patient_is_on_both_sides_and_every_class_is(tmp_path: Path, seed: int, mixed: bool) -> None:
    data = load_dataset(made(tmp_path, patients(40, seed, mixed)))
    check_apart(data)
    of_class = [{s.patient for s in data.train + data.validation if s.target == k} for k in range(3)]
    held = [{s.patient for s in data.validation if s.target == k} for k in range(3)]
    for all_of_class, own in zip(of_class, held, strict=True):
        wanted = 0.2 * len(all_of_class)
        assert 1 <= len(own) <= (wanted + 4 if mixed else wanted + 0.5)


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("folds", [2, 5])
def test_folds_are_disjoint_whole_and_even(tmp_path: Path, folds: int, mixed: bool) -> None:
    """The properties of scikit-learn's StratifiedGroupKFold; shares of a class are within one patient of even ones."""
    path = made(tmp_path, patients(60, 1, mixed))
    counts, seen = [], Counter[str]()
    for fold in range(1, folds + 1):
        data = load_dataset(path, splitting=Splitting(folds, fold))
        check_apart(data)
        counts.append([sum(s.target == k for s in data.validation) for k in range(3)])
        seen.update(s.key for s in data.validation)
    assert set(seen.values()) == {1}
    assert len(seen) == len(load_dataset(path).train) + len(load_dataset(path).validation)
    largest = 6
    for of_class in np.transpose(counts):
        assert max(of_class) - min(of_class) <= (2 * largest if mixed else largest)
        assert min(of_class) > 0


def test_folds_of_single_images_are_those_of_stratified_k_fold(tmp_path: Path) -> None:
    """Each fold has, of every class, the share of scikit-learn's StratifiedKFold: n // k or one more; and sizes so."""
    images = {"a": 13, "b": 7, "c": 5}
    lines = ["path,label", *(f"{label}{n},{label}" for label, count in images.items() for n in range(count))]
    path = made(tmp_path, lines)
    sizes = []
    for fold in range(1, 6):
        data = load_dataset(path, splitting=Splitting(5, fold))
        counts = Counter(data.classes[s.target] for s in data.validation)
        assert counts["a"] in (2, 3)
        assert counts["b"] in (1, 2)
        assert counts["c"] == 1
        sizes.append(len(data.validation))
    assert sizes == [5] * 5


def test_labels_of_any_number_are_spread(tmp_path: Path) -> None:
    lines = ["path,labels:m", *(f"i{n},{'x|y' if n % 5 == 0 else 'y' if n % 2 else ''}" for n in range(50))]
    path = made(tmp_path, lines)
    for fold in range(1, 6):
        data = load_dataset(path, splitting=Splitting(5, fold))
        assert sum(0 in s.target[0] for s in data.validation) == 2, "ten images of class x, five folds"


def test_images_with_files_of_labels(tmp_path: Path) -> None:
    lines = [f"{p}{n},{p}{n}.png,p{p}" for p in range(7) for n in range(2)] + ["u,,p0"]
    touch(tmp_path, *(line.split(",")[0] for line in lines), *(f"{p}{n}.png" for p in range(7) for n in range(2)))
    path = table(tmp_path, "path,labels,patient", *lines)
    held = []
    for fold in range(1, 4):
        data = load_dataset(path, "files", splitting=Splitting(3, fold))
        held.append({s.patient for s in data.validation})
        assert not held[-1] & {s.patient for s in data.train if s.target is not None}
        assert any(s.key == "u" for s in data.train), "an image without labels validates nothing"
    assert sorted(map(len, held)) == [2, 2, 3]


def folds_of(path: Path, labels: Labels, **splitting: Any) -> list[set[str]]:
    return [
        {s.key for s in load_dataset(path, labels, splitting=Splitting(4, fold, **splitting)).validation}
        for fold in range(1, 5)
    ]


def test_a_rare_class_in_files_of_labels_is_in_every_fold(tmp_path: Path) -> None:
    """Of 20 images, 4 show the rare class and 8 another; each of 4 folds has their share, and images."""
    rare, other = range(0, 20, 5), range(3, 19, 2)
    for n in range(20):
        save(tmp_path / f"images/{n}.png", np.zeros((8, 8, 3), np.uint8))
        values = np.zeros((8, 8, 1), np.uint8)
        values[0, 0], values[1, 1] = n in rare, 2 * (n in other)
        save(tmp_path / f"labels/{n}.png", values)
    folds = folds_of(tmp_path, "files")
    assert [len(each) for each in folds] == [5] * 4
    for shown in (rare, other):
        assert {sum(int(Path(key).stem) in shown for key in fold) for fold in folds} == {len(shown) // 4}
    assert folds == folds_of(tmp_path, "files")
    assert folds != folds_of(tmp_path, "files", folds_by="names"), "those of earlier versions"


def test_objects_are_dealt_by_their_classes(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    for n in range(12):
        save(tmp_path / f"images/{n}.png", np.zeros((8, 8, 3), np.uint8))
        name = "rare" if n % 3 == 0 else "common"
        write(tmp_path / f"labels/{n}.geojson", collection(feature(square(1, 1, 4), name)))
    folds = folds_of(tmp_path, "objects")
    assert [sum(int(Path(key).stem) % 3 == 0 for key in fold) for fold in folds] == [1] * 4
    assert [len(fold) for fold in folds] == [3] * 4


def test_folders_have_folds_without_patients(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{label}/{n}.png" for label in "ab" for n in range(6)))
    held = [split_of(load_dataset(tmp_path, splitting=Splitting(3, fold))) for fold in (1, 2, 3)]
    assert [Counter(each.values())["validation"] for each in held] == [4, 4, 4]
    with pytest.raises(DataError, match="--group-by names a column; list the images in a CSV file"):
        load_dataset(tmp_path, splitting=Splitting(group_by="case"))


def test_a_column_of_another_name_and_none(tmp_path: Path) -> None:
    lines = [line.replace("patient", "Case ID") for line in patients(20, 3)]
    path = made(tmp_path, lines)
    check_apart(load_dataset(path, splitting=Splitting(group_by="case id")))
    assert load_dataset(path, splitting=Splitting(group_by=NO_GROUPS)).patients == ()
    with pytest.raises(DataError, match=r"has no column who for --group-by; it has path, label, case id"):
        load_dataset(path, splitting=Splitting(group_by="who"))
    assert load_dataset(path, training=False, splitting=Splitting(group_by="who")).patients == (), "a test set"


def test_columns_of_folds_and_splits(tmp_path: Path) -> None:
    lines = ["path,label,split,fold", *(f"{n},{'ab'[n % 2]},,{n // 4}" for n in range(12)), "t,a,test,", "k,b,train,"]
    path = made(tmp_path, lines)
    data = load_dataset(path, splitting=Splitting(fold=2))
    assert {key for key, split in split_of(data).items() if split == "validation"} == {"8", "9", "10", "11"}
    assert split_of(data)["t"] == "test"
    assert split_of(data)["k"] == "train"
    plain = load_dataset(path)
    assert plain.notes == ("column fold of data.csv not used: --fold K holds out one of 0, 1, 2",)


def twelve(rare: int) -> list[str]:
    return ["path,label", *(f"{n},{'b' if n < rare else 'a'}" for n in range(12))]


FOUR = ["path,label", *(f"{n},{'ab'[n % 2]}" for n in range(4))]
FEW = ["path,label,patient", *(f"{n},{'ab'[n % 2]},p{n % 4}" for n in range(12))]
FOLDS = ["path,label,split,fold", *(f"{n},{'ab'[n % 2]},,{n // 4}" for n in range(12))]


@pytest.mark.parametrize(
    ("lines", "splitting", "message"),
    [
        (FEW, Splitting(5, 1), "4 patients for 5 folds; give 4 folds or less$"),
        (FOUR, Splitting(5, 1), "has 4 images for 5 folds; give 4 folds or less$"),
        (["path,label", "0,a"], Splitting(2, 1), "has one image for 2 folds; add some$"),
        (["path,label", "0,a", "1,b"], Splitting(3, 1), "has 2 images for 3 folds; give 2 folds$"),
        (twelve(2), Splitting(3, 1), "class 'b' has 2 images for 3 folds, so a fold has none; give 2 folds$"),
        (twelve(1), Splitting(3, 1), "class 'b' has one image for 3 folds, so a fold has none; add some$"),
        (FOUR, Splitting(None, 1), "has no column fold for --fold 1"),
        (["path,label,split", "a,x,train", "b,y,val"], Splitting(2, 1), r"names the split of a \(train\), and --folds"),
        (FOLDS, Splitting(fold=7), "has no fold 7 in its column fold, which has 0, 1, 2"),
        (FOLDS, Splitting(5, 1), "has 3 folds in its column fold, not 5"),
        ([*FOLDS, "x,a,,"], Splitting(fold=1), "the fold of x is empty"),
        ([*FOLDS, "x,a,,one"], Splitting(fold=1), "the fold of x is 'one', no whole number"),
        ([*FOLDS, "x,a,val,2"], Splitting(fold=1), "x has split val and fold 2, which contradict"),
        ([*FOLDS, "x,a,train,1"], Splitting(fold=1), "x has split train and fold 1"),
        (["path,label,fold", "a,x,1", "b,x,1", "c,y,2", "d,x,2"], Splitting(fold=2), "no training image of class 'y'"),
        (["path,label,patient", "a,x,p", "b,x,p", "c,y,q", "d,y,r"], Splitting(), "class 'x' has one patient, p"),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path: Path, lines: list[str], splitting: Splitting, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_dataset(made(tmp_path, lines), splitting=splitting)
    # Another data set is scored as it is.
    if "whole number" not in message:
        assert load_dataset(tmp_path / "data.csv", training=False, splitting=splitting).classes


def test_warnings(tmp_path: Path) -> None:
    lines = ["path,label,patient", "a,x,p", "b,y,q", "c,x,", "d,y,", "e,x,r"]
    (warning,) = load_dataset(made(tmp_path, lines)).warnings
    assert "2 of 5 images have no patient (c, d); each counts as a patient of its own" in warning
    split = ["path,label,patient,split", "a,x,p,train", "b,y,q,train", "c,x,p,val", "d,y,r,val"]
    (warning,) = load_dataset(made(tmp_path, split)).warnings
    assert warning.endswith("patients with images in several splits: p; validation is then too good")
    folds = ["path,label,fold", "a,x,1", "b,y,1", "c,x,2", "d,y,2", "e,x,3"]
    (warning,) = load_dataset(made(tmp_path, folds), splitting=Splitting(fold=3)).warnings
    assert warning.endswith("the fold has no image to validate on of class y")
    named = ["path,label,split", "a,x,train", "b,y,train", "c,x,val"]
    (warning,) = load_dataset(made(tmp_path, named)).warnings
    assert warning.endswith("data.csv: no image to validate on of class y")
    assert load_dataset(made(tmp_path, named[:3])).warnings == (), (
        "nothing at all to validate on has a warning of its own"
    )
    assert load_dataset(made(tmp_path, ["path,label,patient", "a,x,", "b,y,", "c,x,", "d,y,"])).warnings == ()


def test_a_patient_may_have_images_of_several_classes(tmp_path: Path) -> None:
    lines = ["path,label,patient", *(f"{p}{k},{k},p{p}" for p in range(10) for k in "ab")]
    data = load_dataset(made(tmp_path, lines))
    check_apart(data)
    assert len(data.validation) == 4
