"""docs/options.md is what the options of the commands say."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.option_table import MORE, command_options, document

PAGE = Path(__file__).parent.parent / "docs" / "options.md"


def test_the_page_is_made_from_the_declared_options() -> None:
    assert PAGE.read_text(encoding="utf-8") == document(), "run: python -m tests.support.option_table > docs/options.md"


@pytest.mark.parametrize("command", MORE)
def test_the_page_has_every_option_of_the_command_line_once(command: str) -> None:
    page = PAGE.read_text(encoding="utf-8").split("\n## ")
    (section,) = (part for part in page if part.startswith(f"`fit {command}`"))
    rows = [line.split("`")[1] for line in section.splitlines() if line.startswith("| `--")]
    options = command_options(command)
    assert sorted(rows) == sorted(", ".join([*each.opts, *each.secondary_opts]) for each in options.values())
    assert set(MORE[command]) <= set(options), "sentences for options that are gone"
