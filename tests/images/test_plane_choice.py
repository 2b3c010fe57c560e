"""What a user may choose, and how numbers and names are told apart."""

from __future__ import annotations

from typing import Any

import pytest

from fitcli.errors import FitError
from fitcli.images.plane_choice import EVERYTHING, PlaneChoice, quoted_name

NAMES = ["DAPI", "488", "a, b", "dapi2"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0,2", [0, 2]),
        (" 3 , 0", [3, 0]),
        ("488", [1]),
        ('"a, b",dapi', [2, 0]),
        ("2,2", [2, 2]),
        ("all", None),
        ("0,4", "4"),
        ("Cy5", "Cy5"),
    ],
)
def test_channels_are_numbers_or_names(text: str, expected: Any) -> None:
    assert PlaneChoice(channels=text).channel_numbers(4, NAMES) == expected


def test_a_name_in_two_spellings_is_none() -> None:
    assert PlaneChoice(channels="dapi").channel_numbers(2, ["DAPI", "Dapi"]) == "dapi"
    assert PlaneChoice(channels="Dapi").channel_numbers(2, ["DAPI", "Dapi"]) == [1]


def test_series_are_numbers_or_names() -> None:
    assert PlaneChoice(series="1").series_number(["a", "b"]) == 1
    assert PlaneChoice(series="b").series_number(["a", "b"]) == 1
    assert PlaneChoice(series="7").series_number(["a", "7"]) == 1
    assert PlaneChoice(series="7").series_number(["a", "b"]) is None


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"z": "-1"}, "--z must be a number of at least 0, max or mean, not -1"),
        ({"z": "min"}, "--z must be"),
        ({"z": 3}, "--z must be text"),
        ({"t": -1}, "--t must be"),
        ({"t": 1.5}, "--t must be"),
        ({"series": " "}, "--series must be a number or a name"),
        ({"channels": ""}, "--channels must be numbers or names"),
        ({"channels": "1,,2"}, "--channels must be numbers or names"),
        ({"channels": '"a'}, "quotation marks"),
    ],
)
def test_impossible_values(values: dict[str, Any], match: str) -> None:
    with pytest.raises(FitError, match=match):
        PlaneChoice(**values)


def test_the_text_of_a_choice() -> None:
    assert (str(EVERYTHING), bool(EVERYTHING)) == ("", False)
    choice = PlaneChoice(series="a&b", z="max", t=0, channels="0,x#1")
    assert (str(choice), bool(choice)) == ("series=a%26b&z=max&t=0&channels=0,x%231", True)


@pytest.mark.parametrize("name", ["DAPI", "GFP, b", 'a "quoted", name', "CD3+"])
def test_a_quoted_name_is_a_choice_of_it(name: str) -> None:
    names = ["other", name]
    assert PlaneChoice(channels=f"{quoted_name(name)},0").channel_numbers(2, names) == [1, 0]
