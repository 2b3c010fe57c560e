"""The dependency rule: dependencies point one way, and heavy imports stay where they belong."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted([*ROOT.glob("fitcli/**/*.py"), *ROOT.glob("models/**/*.py")])
NO_TORCH = [
    "fitcli.app", "fitcli.commands.options", "fitcli.images.window", "fitcli.patches.grid", "fitcli.images.open", "fitcli.tasks.diffusion.config",
    "fitcli.runs.train_settings", "fitcli.data.dataset", "fitcli.patches.resampling",
]  # fmt: skip


def imports(path: Path, module_level: bool = False) -> Iterator[str]:
    """Names of the modules that a file imports; only those that importing the file imports with `module_level`."""
    tree = ast.parse(path.read_text())
    skipped = set()
    if module_level:
        for node in ast.walk(tree):
            is_checking = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            if is_checking or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                skipped |= set(ast.walk(node))
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def packages(path: Path) -> set[str]:
    return {module.split(".")[0] for module in imports(path)}


@pytest.mark.parametrize("path", [p for p in SOURCES if name(p).startswith("models/")], ids=name)
def test_models_know_only_torch_and_einops(path: Path) -> None:
    assert packages(path) <= {"models", "torch", "einops"} | set(sys.stdlib_module_names)


@pytest.mark.parametrize("path", [p for p in SOURCES if "/images/" in name(p)], ids=name)
def test_images_never_import_torch(path: Path) -> None:
    assert not packages(path) & {"torch", "models", "einops"}
    assert all(m.startswith(("fitcli.images", "fitcli.images.window", "fitcli.errors")) or not m.startswith("fitcli")
               for m in imports(path))  # fmt: skip


@pytest.mark.parametrize("path", [p for p in SOURCES if "/decoding/" in name(p)], ids=name)
def test_decoding_knows_ids_and_no_pixels(path: Path) -> None:
    known = {
        "fitcli.noise",
        "fitcli.device.transfer",
        *(f"fitcli.tasks.autoregressive.decoding.{p.stem}" for p in SOURCES),
    }
    assert {m for m in imports(path) if m.startswith("fitcli")} <= known


@pytest.mark.parametrize("path", [p for p in SOURCES if "/commands/" in name(p)], ids=name)
def test_commands_are_short_and_import_late(path: Path) -> None:
    for module in imports(path, module_level=True):
        assert not module.startswith(("torch", "models", "zarr", "tifffile", "PIL")), module
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.body[0].lineno < 40, f"{name(path)}: {node.name}"


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_only_one_file_does_each_of_these(path: Path) -> None:
    text, module = path.read_text(), name(path)
    if module != "fitcli/console.py":
        calls = [n.func for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Call)]
        assert not any(isinstance(f, ast.Name) and f.id == "print" for f in calls), "only console.py prints"
    if module != "fitcli/runs/weights.py":
        assert "safetensors" not in packages(path), "only checkpoints.py touches weights"
    if module != "fitcli/device/runtime.py":
        assert "is_available()" not in text, "only runtime.py picks a device"
    if module not in ("fitcli/patches/cutting.py",) and "/images/" not in module:
        assert "torch.from_numpy" not in text, "only patches.py turns pixels into tensors"
    if not module.startswith("fitcli/images/"):
        allowed = {"zarr"} if module == "fitcli/tasks/encoding/features_file.py" else set()
        assert packages(path) & {"tifffile", "zarr", "PIL", "imagecodecs"} <= allowed, "only images reads images"


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_nothing_calls_back_up(path: Path) -> None:
    upper = {"fitcli.app", "fitcli.__main__"}
    if name(path) not in ("fitcli/app.py", "fitcli/__main__.py"):
        assert not upper & set(imports(path))
        if "/commands/" not in name(path):
            assert not any(module.startswith("fitcli.commands") for module in imports(path))


@pytest.mark.parametrize("path", [p for p in SOURCES if name(p).startswith("fitcli/training/")], ids=name)
def test_training_knows_tasks_by_name_alone(path: Path) -> None:
    """Only `find` knows which tasks there are, and a task knows no other."""
    known = {module for module in imports(path) if module.startswith("fitcli.tasks")}
    if name(path) != "fitcli/tasks/registry.py":
        assert known <= {"fitcli.tasks.registry"}
    if name(path).startswith("fitcli/training/tasks/"):
        assert "fitcli.training.loop" not in set(imports(path))
        assert "fitcli.tasks.registry" not in known


@pytest.mark.parametrize("path", [p for p in SOURCES if p.name == "__init__.py"], ids=name)
def test_packages_re_export_nothing(path: Path) -> None:
    assert not list(imports(path))


def test_no_junk_drawers() -> None:
    assert not {p.stem for p in SOURCES} & {"utils", "util", "helpers", "common", "misc"}


@pytest.mark.parametrize("module", NO_TORCH)
def test_importing_does_not_import_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit(any(m in sys.modules for m in ('torch', 'zarr', 'tifffile', 'PIL')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
