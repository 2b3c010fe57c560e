"""The map in the README shows every file, and nothing that is not there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_tree_is_complete() -> None:
    tree = re.search(r"<!-- tree -->\n```\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.S)
    assert tree is not None
    shown, folder = set(), ""
    for line in tree.group(1).splitlines():
        name = line.split()[0]
        if line.startswith("  "):
            shown.add(folder + name)
        else:
            folder = name
    sources = [*ROOT.glob("fitcli/**/*.py"), *ROOT.glob("models/*.py"), *ROOT.glob("benchmarks/*.py")]
    assert shown == {path.relative_to(ROOT).as_posix() for path in sources if path.name != "__init__.py"}
