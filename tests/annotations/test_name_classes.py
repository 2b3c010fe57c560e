"""Names of polygons become classes, and unknown ones are named with their counts."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from fitcli.annotations.class_table import ClassTable
from fitcli.annotations.label_rules import LabelRules
from fitcli.annotations.name_classes import check_names, table_of_names
from fitcli.errors import DataError

FILE = Path("a.geojson")
NAMED = [((Path("a.tif"), FILE), {"tumor": 3, "stroma": 1})]
COUNTS = Counter({"tumor": 3, "stroma": 1})


def test_classes_are_sorted_and_hold_that_of_elsewhere() -> None:
    assert table_of_names(COUNTS, LabelRules(), FILE).names == ("stroma", "tumor")
    assert table_of_names(COUNTS, LabelRules("land"), FILE).names == ("land", "stroma", "tumor")
    with pytest.raises(DataError, match="only the class 'tumor'"):
        table_of_names(Counter({"tumor": 1}), LabelRules(), FILE)


def test_names_have_to_be_known() -> None:
    check_names(NAMED, COUNTS, ClassTable(("stroma", "tumor"), (0, 1)), LabelRules())
    with pytest.raises(DataError, match=r"a\.geojson: .* 'tumor' \(3 polygons\)"):
        check_names(NAMED, COUNTS, ClassTable(("stroma", "x"), (0, 1)), LabelRules())
    with pytest.raises(DataError, match="'land' of what no polygon covers is none of stroma, tumor"):
        check_names(NAMED, COUNTS, ClassTable(("stroma", "tumor"), (0, 1)), LabelRules("land"))
