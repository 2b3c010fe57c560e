"""Every benchmark starts, and finds what it imports: no benchmark breaks unseen when a file moves or a name changes."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted(path for path in ROOT.glob("benchmarks/**/*.py") if path.name != "__init__.py")
PACKAGES = {"benchmarks", "fitcli", "models"}
MODULE = re.compile(r"benchmarks(\.\w+)+")
EXTRAS = {"perceiver_pytorch", "rin_pytorch", "sklearn", "timm"}
"""Third-party packages that only the extra `bench` installs."""


def name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def load(module: str) -> ModuleType | None:
    """Import a module; None if it needs a package of the extra `bench` that is not installed."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        return None


@pytest.mark.parametrize("path", FILES, ids=name)
def test_all_imports_exist(path: Path) -> None:
    """Includes imports inside functions, and the modules that a benchmark starts by name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in PACKAGES:
            module = load(node.module)
            missing = [alias.name for alias in node.names if module and not hasattr(module, alias.name)]
            assert not missing, f"{node.module} has no {missing}"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and MODULE.fullmatch(node.value):
            assert importlib.util.find_spec(node.value) is not None, node.value


@pytest.mark.parametrize("path", [path for path in FILES if "def main(" in path.read_text()], ids=name)
def test_help(path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    module = load(name(path))
    if module is None:
        pytest.skip("needs the extra `bench`")
    monkeypatch.setattr(sys, "argv", [str(path), "--help"])
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert ended.value.code == 0
    assert f"python -m {name(path)}" in capsys.readouterr().out, "the docstring gives the command"


def test_a_benchmark_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "benchmarks.learning.photograph", "--help"]
    assert "--photograph" in subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
