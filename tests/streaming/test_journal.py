"""A folder keeps the position and the tokens of one job, for one process at a time."""

from __future__ import annotations

import errno
import fcntl
from itertools import count
from pathlib import Path

import pytest
import torch
from support.system_calls import Failure, die, failing, in_child

from fitcli.errors import FitError
from fitcli.streaming import journal
from fitcli.streaming.journal import FolderJournal
from fitcli.streaming.sweeps import Position

CPU = torch.device("cpu")
POSITION = Position(1, 3, torch.arange(6.0).reshape(3, 2, 1), torch.ones(3, 2, 1, dtype=torch.bfloat16))


@pytest.fixture(autouse=True)
def _save_every_position(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "SAVE_SECONDS", 0.0)


def begin(folder: Path, job: dict[str, object] | None = None) -> FolderJournal:
    """Return a closed journal that has saved a position and tokens."""
    first = FolderJournal(folder, job or {})
    first.save_plan({"handful": 2})
    with first.open_store("even", (3, 2, 1), torch.float32, CPU) as store:
        store.put(slice(0, 3), POSITION.latents)
        first.record(POSITION, [store])
    first.close()
    return first


def test_another_process_resumes_where_the_first_was(tmp_path: Path) -> None:
    begin(tmp_path / "state", {"image": "a.tif", "size": (3, 4)})
    second = FolderJournal(tmp_path / "state", {"image": "a.tif", "size": (3, 4)})
    assert second.plan == {"handful": 2}
    assert second.has_position
    position = second.resume()
    assert position is not None
    assert position[:2] == POSITION[:2]
    assert torch.equal(position.latents, POSITION.latents)
    assert torch.equal(position.new_latents, POSITION.new_latents)
    assert position.new_latents.dtype == torch.bfloat16
    with second.open_store("even", (3, 2, 1), torch.float32, CPU) as store:
        assert torch.equal(store.get(slice(0, 3)), POSITION.latents)
    second.restart()
    assert not second.has_position
    assert second.resume() is None
    second.remove()
    assert not (tmp_path / "state").exists()


def test_positions_are_saved_at_intervals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = FolderJournal(tmp_path / "state", {})
    monkeypatch.setattr(journal, "SAVE_SECONDS", 3600.0)
    first.record(POSITION, [])
    assert not first.has_position
    monkeypatch.setattr(journal, "SAVE_SECONDS", 0.0)
    first.record(POSITION, [])
    assert first.has_position
    first.close()


def test_a_state_is_for_one_process(tmp_path: Path) -> None:
    first = FolderJournal(tmp_path / "state", {})
    with pytest.raises(FitError, match=r"state: in use by process [0-9]+ on .*; wait for it"):
        FolderJournal(tmp_path / "state", {})
    first.close()
    FolderJournal(tmp_path / "state", {}).close()


def test_another_job_is_refused_with_what_differs(tmp_path: Path) -> None:
    begin(tmp_path / "state", {"image": "a.tif", "seed": 1})
    with pytest.raises(FitError, match="state: was begun with seed 1, not 2; finish that job with its own settings"):
        FolderJournal(tmp_path / "state", {"image": "a.tif", "seed": 2})
    FolderJournal(tmp_path / "state", {"image": "a.tif", "seed": 1}).close()


def test_a_folder_of_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(FitError, match="holds other files; give an empty folder"):
        FolderJournal(tmp_path, {})
    assert (tmp_path / "notes.txt").read_text(encoding="utf-8") == "mine"

    (tmp_path / "lock").write_text("mine", encoding="utf-8")
    with pytest.raises(FitError, match="holds other files; give an empty folder"):
        FolderJournal(tmp_path, {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "notes.txt"]


def test_a_lock_file_of_the_user_stays(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("mine", encoding="utf-8")
    with pytest.raises(FitError, match="lock: is not a lock file of fit; move it away"):
        FolderJournal(tmp_path, {})
    assert (tmp_path / "lock").read_text(encoding="utf-8") == "mine"


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    begin(tmp_path / "state")
    second = FolderJournal(tmp_path / "state", {})
    assert second.has_position
    second.remove()
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("name", ["job.json", "position.pt", "even", "reads", "canvas-0-0-x-even", "lock"])
def test_links_are_not_followed(tmp_path: Path, name: str) -> None:
    """Tokens, canvases and the lock are written in place."""
    begin(tmp_path / "state")
    path, other = tmp_path / "state" / name, tmp_path / "other"
    path.rename(other) if path.exists() else other.write_bytes(b"mine")
    path.symlink_to(other)
    before = other.read_bytes()
    with pytest.raises(FitError, match=rf"{name}.* is a link"):
        FolderJournal(tmp_path / "state", {})
    assert other.read_bytes() == before


def test_what_is_not_of_the_job_stays(tmp_path: Path) -> None:
    begin(tmp_path / "state")
    (tmp_path / "state" / "notes.txt").write_text("mine", encoding="utf-8")
    FolderJournal(tmp_path / "state", {}).remove()
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["notes.txt"]


def test_a_kill_at_any_moment_leaves_a_folder_to_begin_or_resume_with(tmp_path: Path) -> None:
    for at in count(1):
        folder = tmp_path / str(at)

        def killed(folder: Path = folder, at: int = at) -> None:
            with failing(Failure(die, at=at)):
                first = begin(folder)
                FolderJournal(folder, {}).remove()
                first.close()

        status = in_child(killed)
        again = FolderJournal(folder, {})
        assert again.plan in (None, {"handful": 2}), at
        again.save_plan({"handful": 2})
        again.remove()
        assert not folder.exists(), at
        if status == 0:
            break
        assert status == 9
    assert at > 20


@pytest.mark.parametrize("content", [b"", b"no zip file", b"PK\x03\x04"])
def test_a_damaged_position_is_one_line(tmp_path: Path, content: bytes) -> None:
    begin(tmp_path / "state")
    (tmp_path / "state" / "position.pt").write_bytes(content)
    again = FolderJournal(tmp_path / "state", {})
    with pytest.raises(
        FitError, match=r"position\.pt: damaged \(.*\); remove the folder .*state to start again"
    ) as caught:
        again.resume()
    assert "\n" not in str(caught.value)
    again.close()
