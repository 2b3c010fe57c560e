"""A full disk or Ctrl-C at any call to the system in a command: one line, the old output or the new one, no remains."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import pytest
from support.command_line import Fit
from support.generators import make_run
from support.pictures import colored, save
from support.system_calls import Failure, fail_with_full_disk, fail_with_interrupt, failing

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""An interrupt in the middle of a library leaves files open until they are collected."""

COMMANDS = {
    "classify --csv": ("classify {image} --checkpoint {trained} --csv {out}/a.csv", "a.csv"),
    "classify --heatmap picture": ("classify {image} --checkpoint {trained} --heatmap {out}/a.png", "a.png"),
    "classify --heatmap layer": ("classify {image} --checkpoint {trained} --heatmap {out}/a.tif", "a.tif"),
    "classify --heatmap folder": ("classify {image} --checkpoint {trained} --heatmap {out}", "image.png"),
    "classify --state": ("classify {image} --checkpoint {trained} --csv {out}/a.csv --state {out}/state", "a.csv"),
    "evaluate --csv": ("evaluate {dataset} --checkpoint {trained} --csv {out}/a.csv", "a.csv"),
    "embed --out zarr": ("embed {image} --checkpoint {trained} --out {out}/a.zarr --patches", "a.zarr"),
    "embed --out safetensors": ("embed {image} --checkpoint {trained} --out {out}/a.safetensors", "a.safetensors"),
    "generate --out png": ("generate --checkpoint {denoiser} --steps 1 --overwrite --out {out}/a.png", "a.png"),
    "generate --out zarr": ("generate --checkpoint {denoiser} --steps 1 --overwrite --out {out}/a.zarr", "a.zarr"),
    "generate --state": (
        "generate --checkpoint {denoiser} --steps 2 --overwrite --out {out}/a.tif --state {out}/state", "a.tif",
    ),
    "profile-memory --plot": ("profile-memory --preset debug --plot {out}/a.png", "a.png"),
    "demo": ("demo {out}/a", "a"),
    "train": ("train {dataset} --out {out}/a --preset debug --steps 1 --batch-size 2", "a"),
}  # fmt: skip
"""Every command that writes, with each of its outputs, and the name that stands there in the end."""

KEEPS_WORK = ("train", "classify --state", "generate --state")
"""Commands that leave work to be continued."""

QUICK = 3
"""Calls that are tried at least, evenly spaced."""

HOW = {"full disk": fail_with_full_disk, "interrupt": fail_with_interrupt}

IN_EVERY_RUN = [*product(["classify --csv", "embed --out safetensors"], HOW)]
"""Cases that are tried without `-m slow`; each takes seconds."""

Run = Callable[[Path, Failure], tuple[int, str]]
"""Runs a command with its outputs in a folder; gives exit code and messages."""


@pytest.fixture(scope="module")
def denoiser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "denoiser", classes=())


@pytest.fixture
def run(
    request: pytest.FixtureRequest, fit: Fit, dataset: Path, trained: Path, denoiser: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Run:  # fmt: skip
    line, _ = COMMANDS[request.node.callspec.params["command"]]
    if "--plot" in line:
        pytest.importorskip("matplotlib")
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    image = save(tmp_path / "image.png", colored((64, 64), (40, 60, 200), 1))

    def call(out: Path, failure: Failure) -> tuple[int, str]:
        places = {"image": image, "dataset": dataset, "trained": trained, "denoiser": denoiser, "out": out}
        words = line.format(**places).split()
        with failing(failure):
            result = fit(*words, *([] if words[0] in ("demo", "profile-memory") else ["--device", "cpu"]))
        return result.exit_code, result.stderr

    return call


def contents(path: Path) -> dict[str, bytes]:
    """Everything at a path, by name."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path] if path.exists() else []
    return {file.relative_to(path.parent).as_posix(): file.read_bytes() for file in files if file.is_file()}


def remains(folder: Path) -> set[str]:
    """Names of staging folders."""
    return {path.name for path in folder.rglob("*") if path.name.startswith(".fit-")}


def calls(count: int, all_of_them: bool) -> Iterator[int]:
    step = 1 if all_of_them else max(1, count // QUICK)
    yield from range(1 if all_of_them else (step + 1) // 2, count + 1, step)


def cases() -> Iterator[object]:
    for how in HOW:
        for command in COMMANDS:
            if how == "interrupt" and command in ("train", "demo"):
                # See tests/test_interrupts.py and tests/training/checkpointing/test_kills.py.
                continue
            marks = () if (command, how) in IN_EVERY_RUN else pytest.mark.slow
            yield pytest.param(command, how, False, id=f"{command}, {how}", marks=marks)
            yield pytest.param(command, how, True, id=f"{command}, {how}, all", marks=pytest.mark.slow)


@pytest.mark.walk(2)
@pytest.mark.parametrize(("command", "how", "all_of_them"), cases())
def test_the_old_or_the_new_output_stands_there(
    run: Run, tmp_path: Path, command: str, how: str, all_of_them: bool
) -> None:
    name, fail = COMMANDS[command][1], HOW[how]
    (tmp_path / "before").mkdir()
    if command not in ("train", "demo"):
        # These write to a new folder alone; all others replace an output of before.
        assert run(tmp_path / "before", Failure())[0] == 0
    before = contents(tmp_path / "before" / name)
    counted = Failure(fail)
    assert run(shutil.copytree(tmp_path / "before", tmp_path / "count"), counted)[0] == 0
    failed = 0
    for at in calls(counted.calls, all_of_them):
        out = shutil.copytree(tmp_path / "before", tmp_path / f"{at}")
        code, messages = run(out, Failure(fail, at=at))
        assert "Traceback" not in messages, (at, messages)
        failed += code != 0
        assert code in ((0, 1) if how == "full disk" else (0, 130)), (at, messages)
        if code == 1:
            errors = [line for line in messages.splitlines() if line.startswith("error: ")]
            assert len(errors) == 1, (at, messages)
        now = contents(out / name)
        assert now.keys() == before.keys() or not before or command in KEEPS_WORK, at
        if how == "interrupt" and remains(out):
            # Ctrl-C while it was cleaned up: the next command does that.
            assert run(out, Failure())[0] == 0
        assert not remains(out), at
        others = {path.name for path in out.iterdir() if not path.name.startswith(".fit-")} - {name}
        assert others <= ({"state"} if command in KEEPS_WORK else set()), at
        shutil.rmtree(out)
    assert failed, "some calls matter"
