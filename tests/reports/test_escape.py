"""Hostile texts stay texts, and letters that are not seen are spelled out."""

from __future__ import annotations

import pytest

from fitcli.reports.escape import LONGEST, escaped


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ('" onload="x', "&quot; onload=&quot;x"),
        ("a'b&c", "a&#x27;b&amp;c"),
        ("a\u202egnp.exe", "a\\u202egnp.exe"),
        ("bad\udcff name\x00", "bad\\udcff name\\u0000"),
        ("two\nlines", "two lines"),
        ("Größe 細胞 0.5 µm", "Größe 細胞 0.5 µm"),
    ],
)
def test_text_is_shown_as_it_stands(text: str, shown: str) -> None:
    assert escaped(text) == shown
    escaped(text).encode("utf-8")


def test_a_long_text_loses_its_middle() -> None:
    shown = escaped("a" * 10 * LONGEST + "z")
    assert len(shown) < LONGEST + 10
    assert shown.endswith("z")
