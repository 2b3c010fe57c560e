"""Names of the library where earlier versions documented them: one warning, and the same object."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from fitcli.compatibility.moved import MOVED

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("old", MOVED)
def test_an_old_name_gives_the_new_object_with_a_warning(old: str) -> None:
    module, _, name = old.rpartition(".")
    place, _, own = MOVED[old].rpartition(".")
    with pytest.warns(FutureWarning, match=f"{module}.{name} is now fitcli") as warned:
        found = getattr(import_module(module), name)
    assert found is getattr(import_module(place), own)
    assert len(warned) == 1
    assert "\n" not in str(warned[0].message)


def test_a_script_of_before_still_runs_and_is_told_once(tmp_path: Path, trained: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from pathlib import Path\n"
        "from fitcli.checkpoints import load_classifier\n"
        "from fitcli.runtime import choose_runtime\n"
        f"print(load_classifier(Path({str(trained)!r}), choose_runtime('cpu')).config.classes)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)})
    assert done.stdout.strip() == "('blue', 'red')", done.stderr
    assert done.stderr.count("FutureWarning: fitcli.checkpoints.load_classifier is now fitcli.tasks.load.load_run") == 1
    assert f"{script}:2" in done.stderr, "the line of the script, not one of the library"


@pytest.mark.parametrize("statement", ["import fitcli.nothing", "from fitcli.checkpoints import nothing"])
def test_what_never_was_is_an_import_error(statement: str) -> None:
    with pytest.raises(ImportError):
        exec(statement)


def test_modules_that_have_files_win() -> None:
    import fitcli.patches

    assert fitcli.patches.__file__ == str(ROOT / "fitcli" / "patches" / "__init__.py")
