"""The style sheet: every class of the markup has a rule, and there are a dark form and one for print."""

from __future__ import annotations

import re

from fitcli.reports.style import STYLE
from fitcli.reports.svg import COLORS


def test_dark_and_print_set_every_colour() -> None:
    light, dark, printed = (
        set(re.findall(r"(--[\w]+):", block)) for block in re.findall(r":root \{(.*?)\}", STYLE, re.S)
    )
    assert light == dark == printed
    assert {f"--c{number}" for number in range(COLORS)} < light


def test_braces_are_balanced_and_nothing_is_loaded() -> None:
    assert STYLE.count("{") == STYLE.count("}")
    assert "url(" not in STYLE
    assert "</" not in STYLE
