"""A container with a user that nobody knows: no home, no name, no terminal, and a package that cannot be written to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.pictures import save

ROOT = Path(__file__).parent.parent.parent

# Root could write anywhere: what matters is that nothing tries to, outside of what the user named and of TMPDIR.
BARE = """
import os, pwd, sys

def nobody(*_):
    raise KeyError("no such user")

pwd.getpwuid = nobody
allowed = [os.path.realpath(path) for path in (os.environ["TMPDIR"], os.environ["ALLOWED"], "/dev")]
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT

def hook(event, arguments):
    if event == "open" and (arguments[2] or 0) & WRITES or event in ("os.mkdir", "os.rename", "os.remove"):
        if isinstance(arguments[0], (str, bytes)):
            path = os.path.realpath(os.fsdecode(arguments[0]))
            if not any(path == place or path.startswith(place + "/") for place in allowed):
                sys.stderr.write(f"writes {path}\\n")

sys.addaudithook(hook)
from fitcli.__main__ import main
main()
"""
# The compiler of torch sets its folder in the environment of the process that ran other tests before.
UNKNOWN = (
    "HOME", "USER", "LOGNAME", "TERM", "LNAME", "USERNAME", "XDG_CACHE_HOME", "PYTHONPYCACHEPREFIX",
    "TORCHINDUCTOR_CACHE_DIR",
)  # fmt: skip


def run(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in UNKNOWN} | {
        "TMPDIR": str(folder / "temporary"), "ALLOWED": str(folder / "mine"), "PYTHONPATH": str(ROOT),
        # Python does without what it cannot keep; that it tries is no matter of ours.
        "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    command = [sys.executable, "-c", BARE, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd="/", check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "temporary").mkdir()
    (tmp_path / "mine").mkdir()
    for label, value in (("dark", 20), ("light", 200)):
        for number in range(2):
            save(tmp_path / "data" / label / f"{number}.png", np.full((40, 40, 3), value, np.uint8))
    return tmp_path


@pytest.mark.slow
def test_training_and_classifying(folder: Path) -> None:
    trained = run(
        folder, "train", folder / "data", "--out", folder / "mine/run", "--preset", "debug", "--steps", 1,
        "--device", "cpu",
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    assert "writes " not in trained.stderr
    assert "Warning" not in trained.stderr
    image = folder / "data/dark/0.png"
    options = ["--checkpoint", folder / "mine/run", "--heatmap", folder / "mine/map.png", "--device", "cpu", "--json"]
    result = run(folder, "classify", image, *options)
    assert (result.returncode, result.stderr) == (0, "")
    assert json.loads(result.stdout)[0]["path"] == str(image)
    # An empty folder for compiled kernels is torch's.
    assert not [path for path in (folder / "temporary").rglob("*") if path.is_file()], "what is temporary is removed"
    forbidden = run(folder, "classify", image, *options[:2], "--csv", folder / "elsewhere.csv")
    assert f"writes {folder}/" in forbidden.stderr, "this test can fail"
