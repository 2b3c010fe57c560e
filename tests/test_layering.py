"""The shape of the house: imports point down, each job has one place, and only the tasks know which tasks there are.

python tests/test_layering.py        # the figures: files per folder, arrows between folders, names of tasks
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted([*ROOT.glob("fitcli/**/*.py"), *ROOT.glob("models/**/*.py")])

FLOORS = (
    "models", "fitcli/errors.py", "fitcli/plugins", "fitcli/interrupts.py", "fitcli/process", "fitcli/console.py",
    "fitcli/files", "fitcli/images", "fitcli/reports", "fitcli/annotations", "fitcli/demo", "fitcli/device",
    "fitcli/noise.py", "fitcli/patches", "fitcli/streaming", "fitcli/distributed", "fitcli/runs", "fitcli/execution",
    "fitcli/memory/paper", "fitcli/memory", "fitcli/data", "fitcli/tasks/encoding", "fitcli/tasks",
    "fitcli/tasks/dense", "fitcli/tasks/autoregressive/decoding", "fitcli/tasks/*", "fitcli/tasks/diffusion/generate",
    "fitcli/tasks/diffusion/image_sampler.py", "fitcli/training/checkpointing", "fitcli/training", "fitcli/evaluation",
    "fitcli/profiling", "fitcli/view", "fitcli/commands", "fitcli/compatibility", "fitcli/app.py",
    "fitcli/__main__.py",
)  # fmt: skip
"""Folders and single files from the bottom to the top; a file imports from its own floor and from those below."""

TASKS = sorted(path.parent.name for path in ROOT.glob("fitcli/tasks/*/task.py"))

NO_TORCH = [
    "fitcli.app", "fitcli.commands.options", "fitcli.images.window", "fitcli.patches.grid", "fitcli.images.open",
    "fitcli.runs.train_settings", "fitcli.tasks.registry", "fitcli.data.dataset", "fitcli.patches.resampling",
    *(f"fitcli.tasks.{task}.options" for task in TASKS),
]  # fmt: skip
"""Modules that `fit --help` needs, and those that work on pixels alone."""


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def imports(path: Path, module_level: bool = False) -> tuple[str, ...]:
    """Names of the modules that a file imports; with `module_level`, only when it is imported itself."""
    return tuple(found_imports(path, module_level))


def found_imports(path: Path, module_level: bool) -> Iterator[str]:
    tree = ast.parse(path.read_text())
    skipped: set[ast.AST] = set()
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
            module = node.module or ""
            yield from (f"{module}.{alias.name}" if is_module(f"{module}.{alias.name}") else module
                        for alias in node.names)  # fmt: skip


def is_module(dotted: str) -> bool:
    return (ROOT / (dotted.replace(".", "/") + ".py")).is_file()


def packages(path: Path) -> set[str]:
    return {module.split(".")[0] for module in imports(path)}


def floor_of(file: str) -> int:
    """Number of the floor of a file of the project: that of the longest name in `FLOORS` that fits."""
    fitting = [
        (len(floor), number)
        for number, floor in enumerate(FLOORS)
        if file == floor or re.match(floor.replace("*", "[a-z_]+") + "/", file)
    ]
    assert fitting, f"{file} stands on no floor"
    return max(fitting)[1]


def project_imports(path: Path, module_level: bool = False) -> set[str]:
    """The files of the project that a file imports."""
    files = (module.replace(".", "/") + ".py" for module in imports(path, module_level))
    return {file for file in files if file.startswith(("fitcli/", "models/")) and (ROOT / file).is_file()}


def forbidden_imports(path: Path) -> list[str]:
    """Return the files of floors above, and of other tasks, that a file imports."""
    own = name(path)
    if path.name == "__init__.py":
        return []  # see test_packages_re_export_nothing
    upwards = [file for file in project_imports(path) if floor_of(file) > floor_of(own)]
    # Tasks do not know each other.
    task = own.split("/")[2] if own.startswith("fitcli/tasks/") and own.split("/")[2] in TASKS else None
    others = [
        file
        for file in project_imports(path)
        if task and file.startswith("fitcli/tasks/") and file.split("/")[2] in set(TASKS) - {task}
    ]
    return upwards + others


def test_imports_point_down() -> None:
    found = {name(path): forbidden_imports(path) for path in SOURCES}
    assert not {own: files for own, files in found.items() if files}


def test_no_module_imports_itself_through_others() -> None:
    graph = {name(path): project_imports(path, module_level=True) for path in SOURCES if path.name != "__init__.py"}
    done: set[str] = set()

    def visit(file: str, trail: tuple[str, ...]) -> None:
        assert file not in trail, " -> ".join([*trail[trail.index(file) :], file])
        if file not in done:
            for other in graph.get(file, ()):
                visit(other, (*trail, file))
            done.add(file)

    for file in graph:
        visit(file, ())


def named_tasks(path: Path) -> list[int]:
    """Lines of code that name a task: as a name, or as a whole word of a text that is no docstring."""
    tree = ast.parse(path.read_text())
    # A text that is a statement of its own is a docstring.
    documents = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    # The standard library has a function of that name.
    foreign = {"detect_encoding"}
    # A segment is also a part of a trunk: only a module or a whole text names that task.
    word = re.compile(rf"\b({'|'.join(task for task in TASKS if task != 'segment')})\b")
    segment = re.compile(r"^segment$|\btasks\.segment\b")
    lines = []
    for node in ast.walk(tree):
        names = [getattr(node, field, None) for field in ("id", "attr", "name", "arg", "module")]
        texts = [node.value] if isinstance(node, ast.Constant) and id(node) not in documents else []
        found = [text for text in [*names, *texts] if isinstance(text, str) and text not in foreign]
        of_segment = [text for text in [getattr(node, "module", None), *texts] if isinstance(text, str)]
        if any(word.search(text.replace("_", " ")) for text in found) or any(map(segment.search, of_segment)):
            lines.append(getattr(node, "lineno", 0))
    return lines


OUTSIDE = [
    path
    for path in SOURCES
    # app.py registers the commands; compatibility/ has names of before; a layer of models/pooling.py has a name that
    # stands in the files of weights.
    if not name(path).startswith(
        ("fitcli/tasks/", "fitcli/commands/", "fitcli/compatibility/", "fitcli/app.py", "models/pooling.py")
    )
]


def test_only_tasks_and_commands_name_a_task() -> None:
    found = {name(path): named_tasks(path) for path in OUTSIDE}
    assert not {own: tasks for own, tasks in found.items() if tasks}


@pytest.mark.parametrize("path", [p for p in SOURCES if name(p).startswith("models/")], ids=name)
def test_models_import_only_torch_and_einops(path: Path) -> None:
    assert packages(path) <= {"models", "torch", "einops"} | set(sys.stdlib_module_names)


@pytest.mark.parametrize(
    "path", [p for p in SOURCES if name(p).startswith(("fitcli/images/", "fitcli/files/"))], ids=name
)
def test_images_and_files_never_import_torch(path: Path) -> None:
    assert not packages(path) & {"torch", "models", "einops"}


@pytest.mark.parametrize("path", [p for p in SOURCES if name(p).startswith("fitcli/images/")], ids=name)
def test_only_open_imports_the_folder_of_a_format(path: Path) -> None:
    formats = {f"fitcli/images/{folder}/" for folder in ("tiff", "zarr", "raster", "features")}
    own = next((folder for folder in formats if name(path).startswith(folder)), None)
    foreign = [file for file in project_imports(path) if any(file.startswith(f) for f in formats - {own})]
    assert name(path) == "fitcli/images/open.py" or not foreign


@pytest.mark.parametrize("path", [p for p in SOURCES if "/decoding/" in name(p)], ids=name)
def test_decoding_works_on_ids_and_not_on_pixels(path: Path) -> None:
    allowed = (
        "fitcli/errors.py",
        "fitcli/noise.py",
        "fitcli/device/",
        "fitcli/tasks/autoregressive/decoding/",
        "models/",
    )
    assert all(file.startswith(allowed) for file in project_imports(path))


@pytest.mark.parametrize("path", [p for p in SOURCES if "/commands/" in name(p)], ids=name)
def test_commands_are_short_and_import_late(path: Path) -> None:
    for module in imports(path, module_level=True):
        assert not module.startswith(("torch", "models", "zarr", "tifffile", "PIL")), module
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.body[0].lineno < 40, f"{name(path)}: {node.name}"


def test_each_of_these_has_one_place() -> None:
    for path in SOURCES:
        text, module = path.read_text(), name(path)
        if module != "fitcli/console.py" and "print" in text:
            calls = [n.func for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Call)]
            assert not any(isinstance(f, ast.Name) and f.id == "print" for f in calls), (
                f"{module}: only console.py prints"
            )
        if module != "fitcli/runs/weights.py":
            assert "safetensors" not in packages(path), f"{module}: only runs/weights.py reads and writes weights"
        if module != "fitcli/device/runtime.py":
            assert "is_available()" not in text, f"{module}: only device/runtime.py picks a device"
        if not module.startswith(("fitcli/patches/", "fitcli/images/")):
            assert "torch.from_numpy" not in text, f"{module}: only patches/ turns pixels into tensors"
        if not module.startswith("fitcli/images/"):
            allowed = {"zarr"} if module == "fitcli/tasks/encoding/features_file.py" else set()
            assert packages(path) & {"tifffile", "zarr", "PIL", "imagecodecs"} <= allowed, (
                f"{module}: only images/ reads images"
            )


def test_few_files_stand_at_the_top() -> None:
    assert len([p for p in ROOT.glob("fitcli/*.py") if p.name != "__init__.py"]) <= 6


@pytest.mark.parametrize("path", [p for p in SOURCES if p.name == "__init__.py" and name(p).count("/") > 1], ids=name)
def test_every_folder_says_in_one_sentence_what_it_holds(path: Path) -> None:
    document = ast.get_docstring(ast.parse(path.read_text())) or ""
    assert document.endswith(".")
    assert "\n" not in document


def classes() -> dict[str, list[str]]:
    found = defaultdict(list)
    for path in SOURCES:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(name(path))
    return found


def test_no_two_classes_share_a_name() -> None:
    assert not {word: places for word, places in classes().items() if len(places) > 1}


@pytest.mark.parametrize("path", [p for p in SOURCES if p.name == "__init__.py"], ids=name)
def test_packages_re_export_nothing(path: Path) -> None:
    assert set(imports(path)) <= {"fitcli.compatibility.moved"}


def test_no_junk_drawers() -> None:
    assert not {p.stem for p in SOURCES} & {"utils", "util", "helpers", "common", "misc"}


@pytest.mark.walk(5)
@pytest.mark.parametrize("module", NO_TORCH)
def test_importing_does_not_import_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit(any(m in sys.modules for m in ('torch', 'zarr', 'tifffile', 'PIL')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def figures() -> str:
    """The shape of the tree in numbers."""
    folders = Counter(str(Path(name(path)).parent) for path in SOURCES if path.name != "__init__.py")
    arrows = {
        (FLOORS[floor_of(name(path))], FLOORS[floor_of(file)])
        for path in SOURCES
        if path.name != "__init__.py"
        for file in project_imports(path)
    }
    between = {(a, b) for a, b in arrows if a != b}
    upwards = [(a, b) for a, b in between if FLOORS.index(b) > FLOORS.index(a)]
    tests = {path.stem for path in ROOT.glob("tests/**/test_*.py")}
    covered = [p for p in SOURCES if f"test_{p.stem}" in tests or p.name == "__init__.py"]
    lines = [f"{count:4} files in {folder}" for folder, count in sorted(folders.items())]
    lines += [
        f"{len(between)} arrows between {len(FLOORS)} places, {len(upwards)} upwards",
        f"{sum(len(set(named_tasks(path))) for path in OUTSIDE)} lines outside of tasks and commands name a task",
        f"{sum(len(places) > 1 for places in classes().values())} class names stand in two files",
        f"{len(SOURCES) - len(covered)} of {len(SOURCES)} modules have no test of their name",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(figures())
