"""What no polygon covers is ignored unless a class is named."""

from __future__ import annotations

import unicodedata

import pytest

from fitcli.annotations.label_rules import LabelRules
from fitcli.errors import DataError


def test_nothing_is_guessed() -> None:
    assert LabelRules().elsewhere is None
    assert LabelRules("background") == LabelRules(elsewhere="background")


def test_names_have_the_form_of_classes() -> None:
    assert LabelRules(f" {unicodedata.normalize('NFD', 'Gefäß')} ").elsewhere == "Gefäß"
    for name in ("", " "):
        with pytest.raises(DataError, match="has no name; give it one"):
            LabelRules(name)
