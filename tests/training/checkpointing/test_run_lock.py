"""A run folder belongs to one process, and training writes nothing outside of it: no link is followed."""

from __future__ import annotations

import errno
import fcntl
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.command_line import Fit
from support.pictures import colored, save
from support.small_runs import quietly, run_of, two_classes

from fitcli.errors import FitError
from fitcli.training.checkpointing.run_lock import locked
from fitcli.training.loop import train

LINKS = ("training", "training/states", "last", "tensorboard", "metrics.jsonl", "training/lock",
         "training/states/00000004")  # fmt: skip


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """Everything in a folder, by name; None for folders."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")
    }


def test_without_locks_nobody_is_kept_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", flock)
    with locked(tmp_path / "run"), locked(tmp_path / "run"):
        pass


@pytest.mark.parametrize("name", LINKS)
def test_a_link_in_a_run_folder_is_refused(tmp_path: Path, name: str) -> None:
    run, other = tmp_path / "run", tmp_path / "other"
    (run / name).parent.mkdir(parents=True)
    other.mkdir()
    (other / "thesis").write_text("dear reader")
    (run / name).symlink_to(other / "thesis" if name in ("metrics.jsonl", "training/lock") else other)
    before = snapshot(tmp_path)
    with (
        pytest.raises(FitError, match=rf"run/{name}: is a link, and training writes nothing outside of .*run; replace"),
        locked(run),
    ):
        pass
    assert snapshot(tmp_path) == before


def test_the_run_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to("disk")
    with locked(tmp_path / "run"):
        assert (tmp_path / "disk/training/lock").is_file()


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory, fit: Fit) -> tuple[Path, list[object]]:
    """A run of two steps, and how it was started."""
    folder = tmp_path_factory.mktemp("linked")
    for label, color in (("dark", (60, 80, 70)), ("light", (90, 70, 100))):
        for number in range(5):
            save(folder / "data" / label / f"{number}.png", colored((16, 16), color, number))
    arguments: list[object] = ["train", folder / "data", "--preset", "debug", "--steps", 2, "--batch-size", 2,
                               "--save-every", 1, "--device", "cpu", "--out"]  # fmt: skip
    result = fit(*arguments, folder / "run")
    assert result.exit_code == 0, result.stderr
    return folder / "run", arguments


@pytest.mark.walk(2)
@pytest.mark.parametrize("name", ["training", "training/states", "last", "training/lock", "metrics.jsonl"])
def test_resuming_through_a_link_changes_nothing(
    begun: tuple[Path, list[object]], tmp_path: Path, fit: Fit, name: str
) -> None:
    """The target has what a run has, and files of a user that look like leftovers and old states."""
    run, arguments = begun
    shutil.copytree(run, tmp_path / "run")
    other = tmp_path / "other"
    shutil.move(tmp_path / "run" / name, other)
    (tmp_path / "run" / name).symlink_to(other)
    if other.is_dir():
        for mine in (".model.safetensors.partial-0a1b2c3d", ".tmpaB3xYz"):
            (other / mine).touch()
        (other / "00000001" / "photos").mkdir(parents=True, exist_ok=True)
    before = snapshot(tmp_path)
    result = fit(*arguments, tmp_path / "run", "--resume")
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith(f"error: {tmp_path / 'run' / name}: is a link, and training writes nothing outside")
    assert snapshot(tmp_path) == before


def test_files_of_the_user_stay(begun: tuple[Path, list[object]], tmp_path: Path, fit: Fit) -> None:
    run, arguments = begun
    shutil.copytree(run, tmp_path / "run")
    mine = ["training/states/2024/photo.png", "training/states/00000001/photo.png", "training/.notes.partial-draft/x",
            ".tmpfolder/x", "last/.mine.partial-0a1b2c3d/x"]  # fmt: skip
    shutil.rmtree(tmp_path / "run/training/states/00000001", ignore_errors=True)
    for name in mine:
        (tmp_path / "run" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "run" / name).write_text("mine")
    result = fit(*arguments, tmp_path / "run", "--resume")
    assert result.exit_code == 0, result.stderr
    assert "damaged" not in result.stderr
    for name in mine:
        assert (tmp_path / "run" / name).read_text() == "mine"


ROOT = Path(__file__).parents[3]

HOLD = """
import sys
from pathlib import Path
from fitcli.training.checkpointing.run_lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_processes_do_not_train_into_one_folder(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run = run_of(two_classes(tmp_path / "data"), folder, epochs=1)
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdin=pipe, stdout=pipe, cwd=ROOT)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
        with pytest.raises(FitError, match=rf"run: process {process.pid} on .* is training there; .* another --out"):
            train(run, quietly)
        assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    finally:
        process.kill()
        process.communicate()
    assert train(run, quietly).step == 4, "the lock of a process that died is gone"


def test_a_folder_that_was_taken_since_the_run_was_prepared(tmp_path: Path) -> None:
    data = two_classes(tmp_path / "data")
    first, second = (run_of(data, tmp_path / "run", epochs=1) for _ in range(2))
    train(first, quietly)
    before = snapshot(tmp_path / "run")
    with pytest.raises(FitError, match="now holds a run"):
        train(second, quietly)
    assert snapshot(tmp_path / "run") == before


def test_a_lock_is_released(tmp_path: Path) -> None:
    for _ in range(2):
        with locked(tmp_path / "run"):
            pass
    shutil.rmtree(tmp_path / "run")
