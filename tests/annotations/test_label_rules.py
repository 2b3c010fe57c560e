"""What no polygon covers is ignored unless a class is named."""

from __future__ import annotations

from fitcli.annotations.label_rules import LabelRules


def test_nothing_is_guessed() -> None:
    assert LabelRules().elsewhere is None
    assert LabelRules("background") == LabelRules(elsewhere="background")
