"""Classes by name: text, JSON files, and what is refused in one line."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest

from fitcli.annotations.class_table import ClassTable, parse_classes
from fitcli.errors import DataError


def test_text() -> None:
    table = parse_classes(" 0=background, 7 = tumor,65535=a=b")
    assert table == ClassTable(("background", "tumor", "a=b"), (0, 7, 65535))
    assert table.colors == (None, None, None)


@pytest.mark.parametrize(
    ("document", "values"),
    [
        ({"0": "background", "3": "tumor"}, (0, 3)),
        ({"background": 0, "tumor": 3}, (0, 3)),
        (["background", "tumor"], (0, 1)),
    ],
)
def test_json(tmp_path: Path, document: object, values: tuple[int, ...]) -> None:
    (tmp_path / "classes.json").write_text(json.dumps(document))
    assert parse_classes(str(tmp_path / "classes.json")) == ClassTable(("background", "tumor"), values)


def test_a_json_file_may_have_an_equals_sign_in_its_name(tmp_path: Path) -> None:
    (tmp_path / "a=b.json").write_text('["one"]')
    assert parse_classes(str(tmp_path / "a=b.json")).names == ("one",)


def test_names_are_composed() -> None:
    decomposed = unicodedata.normalize("NFD", "Gefäß")
    assert parse_classes(f"0={decomposed}").names == ("Gefäß",)
    with pytest.raises(DataError, match="occurs twice"):
        parse_classes(f"0={decomposed},1=Gefäß")


WRONG_TEXT = {
    "": "classes: none are given; write them as",
    " ": "classes: none are given; write them as",
    "0=a,0=b": "value 0 occurs twice",
    "0=a,1=a": "name 'a' occurs twice",
    "0=a,1=": "value 1 has no name",
    "-1=a": "value -1 is out of range",
    "65536=a": "value 65536 is out of range",
    "1" * 19 + "=a": "out of range",
    "a=0": "'a' is no value of a class",
    "0=a,b": "'b' is no value of a class",
    "0=a,,1=b": "'' is no value of a class",
    "²=a": "'²' is no value of a class",
    ",".join(f"{value}=c{value}" for value in range(255)): "255 are given; give 1 to 254",
    "missing.json": "missing.json: the classes cannot be read",
}


@pytest.mark.parametrize("text", WRONG_TEXT)
def test_impossible_classes(text: str) -> None:
    with pytest.raises(DataError, match=WRONG_TEXT[text]) as raised:
        parse_classes(text)
    assert "\n" not in str(raised.value)


def test_254_classes_are_possible() -> None:
    assert len(parse_classes(",".join(f"{value}=c{value}" for value in range(254))).names) == 254


WRONG_JSON = {
    '{"a": 0, "a": 1}': "name 'a' occurs twice",
    '{"0": "a", "0": "b"}': "value 0 occurs twice",
    '{"a": 0, "b": "c"}': "must be",
    '{"a": true}': "must be",
    '{"a": {"b": 1}}': "must be",
    '[["a", 1]]': "must be",
    "{}": "must be",
    "3": "must be",
    "{": "no JSON",
    "[" * 100_000: "no JSON",
    "\xff": "no JSON",
    " " * (1 << 21): "more than 1 MiB",
}


@pytest.mark.parametrize("text", WRONG_JSON, ids=lambda text: text[:20])
def test_unusable_json(tmp_path: Path, text: str) -> None:
    (tmp_path / "classes.json").write_text(text, encoding="latin-1")
    with pytest.raises(DataError, match=WRONG_JSON[text]) as raised:
        parse_classes(str(tmp_path / "classes.json"))
    assert str(raised.value).startswith(str(tmp_path / "classes.json"))
    assert "\n" not in str(raised.value)


def test_a_folder_is_no_file_of_classes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        parse_classes(str(tmp_path))
