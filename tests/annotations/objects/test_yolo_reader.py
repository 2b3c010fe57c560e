"""YOLO text files and the names of their classes."""

from __future__ import annotations

from pathlib import Path

import pytest

from fitcli.annotations.objects.yolo_reader import is_name_file, read_yolo, yolo_names
from fitcli.errors import ImageError


def written(folder: Path, text: str, names: str = "", file: str = "data.yaml") -> Path:
    (folder / "labels").mkdir(exist_ok=True)
    if names:
        (folder / file).write_text(names)
    (folder / "labels/a.txt").write_text(text)
    return folder / "labels/a.txt"


def test_boxes_are_shares(tmp_path: Path) -> None:
    found = read_yolo(written(tmp_path, "1 0.5 0.5 0.2 0.4\n\n0 0.1 0.1 0.3 0.1 0.3 0.4\n"))
    assert found.outlines.boxes().round(9).tolist() == [[0.4, 0.3, 0.6, 0.7], [0.1, 0.1, 0.3, 0.4]]
    assert found.units == "shares"
    assert found.counts() == {"0": 1, "1": 1}
    assert read_yolo(written(tmp_path, "")).counts() == {}


@pytest.mark.parametrize(
    ("names", "file"),
    [
        ("train: x\nnames:\n  0: cell\n  1: 'big cell'\nnc: 2\n", "data.yaml"),
        ("names:\n- cell\n- big cell\n", "data.yaml"),
        ("names: [cell, 'big cell']  # two\n", "data.yaml"),
        ("names: {0: cell, 1: big cell}\n", "data.yml"),
        ("names: [cell,\n  big cell]\n", "data.yaml"),
        ("cell\nbig cell\n", "classes.txt"),
    ],
)
def test_names(tmp_path: Path, names: str, file: str) -> None:
    path = written(tmp_path, "1 0.5 0.5 0.2 0.4\n", names, file)
    assert yolo_names(path) == ["cell", "big cell"]
    assert read_yolo(path).counts() == {"big cell": 1}
    assert is_name_file(tmp_path / file)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.5 0.5 0.2", "has 3 numbers after the class, not 4"),
        ("0 0.5 0.5 -0.2 0.1", "has a box of -0.2 x 0.1"),
        ("x 0.5 0.5 0.2 0.1", "has a word that is no number"),
        ("-1 0.5 0.5 0.2 0.1", "has the class -1; classes are numbered from 0"),
        ("0.5 0.5 0.5 0.2 0.1", "has the class 0.5"),
        ("0 300 200 40 50", "far outside of 0 to 1"),
        ("0 nan 0.5 0.2 0.1", "far outside of 0 to 1"),
        ("7 0.5 0.5 0.2 0.1", "has the class 7, but the file of names has 1 name"),
        ("1e999 0.5 0.5 0.2 0.1", "no number"),
    ],
)
def test_impossible_lines(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(ImageError, match=f"line 2 .*{message}"):
        read_yolo(written(tmp_path, f"0 0.5 0.5 0.2 0.1\n{line}\n", "names: [a]\n"))


def test_impossible_names(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="has no entry names"):
        read_yolo(written(tmp_path, "", "train: x\n"))
    with pytest.raises(ImageError, match="not numbered 0, 1, 2"):
        read_yolo(written(tmp_path, "", "names: {0: a, 2: b}\n"))
