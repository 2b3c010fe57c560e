"""docs/options.md is what the declared options say."""

from __future__ import annotations

from pathlib import Path

from support.option_table import document

PAGE = Path(__file__).parent.parent / "docs" / "options.md"


def test_the_page_is_made_from_the_declared_options() -> None:
    assert PAGE.read_text(encoding="utf-8") == document(), "run: python -m tests.support.option_table > docs/options.md"
