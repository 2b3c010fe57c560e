"""Names of classes: one Unicode form, and names that are hard to tell apart."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from fitcli.data.class_names import composed, confusable_names, number_of_name


def test_an_accent_has_one_form() -> None:
    assert composed("Ka\u0308se") == "K\u00e4se" == composed("K\u00e4se")
    assert composed("plain \udcff") == "plain \udcff", "names of files need not be text"


@given(st.text(max_size=20))
def test_all_forms_of_a_name_are_one(name: str) -> None:
    assert composed(unicodedata.normalize("NFD", name)) == composed(name) == composed(composed(name))
    assert composed(name) == name or not name.isascii()


def test_a_user_gives_a_name_in_either_form() -> None:
    names = ("Brot", "Ka\u0308se", "K\u00e4se2")
    assert [number_of_name(name, names) for name in ("Brot", "K\u00e4se", "Ka\u0308se", "Ka\u0308se2")] == [0, 1, 1, 2]
    assert number_of_name("brot", names) is None
    assert number_of_name("K\u00e4se", ("Ka\u0308se", "K\u00e4se")) == 1, "the form that is given comes first"


def test_names_that_differ_by_case_spaces_or_form() -> None:
    names = ["Normal", "normal", "NOR MAL", "tumor 1", "tumor\u00a01", "tumor2", "\uff21", "a", "b", "Stra\u00dfe",
             "STRASSE", "x\u200by", "xy"]  # fmt: skip
    assert {frozenset(group) for group in confusable_names(names)} == {
        frozenset({"Normal", "normal", "NOR MAL"}),
        frozenset({"tumor 1", "tumor\u00a01"}),
        frozenset({"\uff21", "a"}),
        frozenset({"Stra\u00dfe", "STRASSE"}),
        frozenset({"x\u200by", "xy"}),
    }
    assert confusable_names(["cat", "dog", "cat", "dot", "1,5", "1.5", "a-b", "a_b"]) == []
