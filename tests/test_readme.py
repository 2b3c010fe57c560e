"""The README is short, its map shows every folder and nothing that is not there, and its library snippet runs."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from support.pictures import colored, save

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_it_fits_into_two_hundred_lines() -> None:
    assert len(README.splitlines()) <= 200


def test_the_tree_has_every_folder() -> None:
    tree = re.search(r"<!-- tree -->\n```\n(.*?)```", README, flags=re.S)
    assert tree is not None
    shown = {line.split()[0] for line in tree.group(1).splitlines()}
    sources = [*ROOT.glob("fitcli/**/*.py"), *ROOT.glob("models/*.py")]
    folders = {f"{path.parent.relative_to(ROOT).as_posix()}/" for path in sources}
    assert shown == folders | {"benchmarks/", "tests/"}


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", *(f"docs/{p.name}" for p in ROOT.glob("docs/*.md"))])
def test_what_a_page_links_to_is_there(page: str) -> None:
    folder = (ROOT / page).parent
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", (ROOT / page).read_text(encoding="utf-8"))
    assert not [link for link in links if not (folder / link).exists()]


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", *(f"docs/{p.name}" for p in ROOT.glob("docs/*.md"))])
def test_the_files_that_a_page_names_are_there(page: str) -> None:
    # What a command writes need not be there, and `a/b.py` stands for any file.
    text = re.sub(r"--out \S+|`[\w/]*\ba/\w+\.py`", "", (ROOT / page).read_text(encoding="utf-8"))
    named = re.findall(r"\b((?:fitcli|models|tests|benchmarks|recipes)/[\w/.-]+\.(?:py|json|toml))\b", text)
    modules = re.findall(r"python -m ((?:benchmarks|tests)\.[\w.]+)", text)
    named += [module.replace(".", "/") + ".py" for module in modules]
    assert not [name for name in named if not (ROOT / name).exists()]


def test_the_library_snippet_runs(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "image.tif", colored((300, 200), (40, 60, 200), 1))
    (tmp_path / "slide.svs").symlink_to(tmp_path / "image.tif")
    (tmp_path / "run").symlink_to(trained)
    monkeypatch.chdir(tmp_path)
    (snippet,) = re.findall(r"```python\n(.*?)```", README, flags=re.S)
    names: dict[str, object] = {}
    exec(snippet.replace('"auto"', '"cpu"'), names)
    result = names["result"]
    assert result.probabilities.sum() == pytest.approx(1)  # type: ignore[attr-defined]
    assert np.isfinite(result.evidence).all()  # type: ignore[attr-defined]
