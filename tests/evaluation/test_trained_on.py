"""How many of the scored images a run was trained on, by digest, by name, and by patient."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.data_sets import table

from fitcli.data.dataset import Dataset, Sample
from fitcli.data.file_digest import file_digest
from fitcli.errors import DataError
from fitcli.evaluation.trained_on import describe, find_trained, trained_images, with_patients
from fitcli.training.checkpointing.run_record import IMAGES, TrainedImage


def samples(folder: Path, *names: str, patients: str = "") -> list[Sample]:
    for name in names:
        (folder / name).write_text(name)
    return [
        Sample(folder / name, 0, key=name, patient=p)
        for name, p in zip(names, patients or [""] * len(names), strict=True)
    ]


def test_an_image_is_known_again_under_another_name(tmp_path: Path) -> None:
    names = (("x/a", "train"), ("x/b", "val"), ("c", "train"))
    files = [file_digest(sample.path) for sample in samples(tmp_path, "a", "b", "other")]
    record = [TrainedImage(name, split, "", file) for (name, split), file in zip(names, files, strict=True)]
    found = find_trained(record, samples(tmp_path, "a", "b", "c", "d"))
    assert found.seen == ("train", "val", "", ""), "c has the name of another image"
    assert describe(found) == "1 of 4 images"
    assert found.document == {"images": 1, "validated_on": 1, "of": 4}


def test_without_digests_names_count(tmp_path: Path) -> None:
    record = [TrainedImage("a", "train", "", ""), TrainedImage("b", "val", "", "")]
    assert find_trained(record, samples(tmp_path, "a", "b", "c")).seen == ("train", "val", "")


def test_training_images_are_those_of_the_record(tmp_path: Path) -> None:
    (tmp_path / "run" / "training").mkdir(parents=True)
    a, b, c = samples(tmp_path, "a", "b", "c")
    same = Dataset(classes=(), train=(a, b), validation=(c,), fingerprint="one")
    other = Dataset(classes=(), train=(a, c), validation=(b,), fingerprint="two")
    assert trained_images(tmp_path / "run", other) == [a, c], "without a record"
    record = {"fingerprint": "one", "images": [["a", "", "train"], ["b", "", "train"], ["c", "", "val"]]}
    (tmp_path / "run" / IMAGES).write_text(json.dumps(record))
    assert trained_images(tmp_path / "run", same) == [a, b]
    assert trained_images(tmp_path / "run", other) == [a, b], "b is held out in another data set only"


def test_patients_count_by_name_and_by_their_images(tmp_path: Path) -> None:
    record = [
        TrainedImage("a", "train", "", ""),
        TrainedImage("z", "train", "q", ""),
        TrainedImage("y", "val", "r", ""),
    ]
    found = find_trained(record, samples(tmp_path, "a", "b", "c", "d", patients="ppqr"))
    assert found.seen == ("train", "", "", "")
    assert describe(found) == "1 of 4 images (2 of 3 patients)", "p by image a, q by its name"


def test_a_column_to_score_by(tmp_path: Path) -> None:
    images = samples(tmp_path, "a", "b")
    data = table(tmp_path, "path,label,case", "a,x,1", "b,y,2")
    assert [s.patient for s in with_patients(data, images, "needed", "Case", None)] == ["1", "2"]
    with pytest.raises(DataError, match="has no column who for --per; it has path, label, case"):
        with_patients(data, images, "needed", "who", None)
    with pytest.raises(DataError, match="--per case names a column; list the images in a CSV file"):
        with_patients(tmp_path, images, "needed", "case", None)
