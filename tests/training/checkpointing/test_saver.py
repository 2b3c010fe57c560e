"""Saving in the background: what waits for what, and what a failure to write leaves behind."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.command_line import Fit
from support.runs import assert_same_run
from support.small_runs import quietly, run_of, two_classes

from fitcli.errors import FitError
from fitcli.memory.estimate import estimate_step
from fitcli.training import execution_choice, loop
from fitcli.training.checkpointing import saver as saver_module
from fitcli.training.checkpointing.saved_states import save_state, saved_steps
from fitcli.training.checkpointing.saver import Saver
from fitcli.training.checkpointing.snapshot import Progress, State
from fitcli.training.execution_choice import has_room_for_copy
from fitcli.training.loop import train
from fitcli.training.metrics_log import MetricsLog
from fitcli.training.reports import StepReport
from models.build import build


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_classes(tmp_path_factory.mktemp("data"))


def state(value: float) -> State:
    return {"model": {"w": torch.full((2,), value)}, "optimizer": {}}


class Gate:
    """Blocks the writing of states until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened, self.reached, self.written = threading.Event(), threading.Event(), []
        monkeypatch.setattr(saver_module, "save_state", self._save_state)

    def _save_state(self, run: Path, state: State, progress: Progress) -> None:
        self.reached.set()
        assert self.opened.wait(240)
        self.written.append(progress.step)
        save_state(run, state, progress)


def test_a_save_that_becomes_due_while_a_state_is_written_follows(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, value = Gate(monkeypatch), 0.0
    run = replace(run_of(data, tmp_path, save_every=3), folder=tmp_path)
    progress = Progress()
    with Saver(run, lambda copy: state(value), lambda: None, progress) as saver:
        assert [saver.due(step, ends_epoch=True) for step in (1, 2, 3)] == [False, False, True]
        progress.step, value = 3, 3.0
        saver.save(progress)
        assert gate.reached.wait(240)
        # The thread has its own copy of the progress.
        progress.step, value = 6, 6.0
        assert not saver.due(6, ends_epoch=False), "one at a time"
        gate.opened.set()
        saver.wait()
        progress.step, value = 7, 7.0
        assert saver.due(7, ends_epoch=False), "it is still due"
        saver.save(progress)
        assert not saver.due(8, ends_epoch=True)
        monkeypatch.setattr(saver_module, "SAVE_SECONDS", 0)
        saver.wait()
        assert saver.due(8, ends_epoch=False), "the longest time between two saves has passed"
    assert gate.written == saved_steps(tmp_path)[::-1] == [3, 7]
    assert load_file(tmp_path / "training/states/00000003/model.safetensors")["w"].tolist() == [3, 3]
    assert load_file(tmp_path / "last/model.safetensors")["w"].tolist() == [7, 7]


def test_the_end_waits_for_a_state_that_is_being_written(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    threading.Timer(0.5, gate.opened.set).start()
    assert train(run_of(data, tmp_path / "run", epochs=1), quietly).step == 4
    assert saved_steps(tmp_path / "run") == [4, 0]
    assert gate.written == [4]
    assert (
        load_file(tmp_path / "run/model.safetensors").keys()
        == load_file(tmp_path / "run/last/model.safetensors").keys()
    )


@pytest.mark.walk(1)
@pytest.mark.parametrize(("step", "background"), [(4, True), (8, False)])
def test_a_full_disk_ends_the_run_and_leaves_earlier_states(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, background: bool
) -> None:
    def full(run: Path, state: State, progress: Progress) -> None:
        if progress.step == step:
            with (run / "training/states/.00000004.partial-0a1b2c3d").open("wb") as file:
                file.write(b"half of it")
            raise OSError(28, "No space left on device", "half")
        save_state(run, state, progress)

    whole, folder, seen = tmp_path / "whole", tmp_path / "run", []
    train(run_of(data, whole), quietly)
    with monkeypatch.context() as patch:
        patch.setattr(saver_module, "save_state", full)
        patch.setattr(loop, "has_room_for_copy", lambda _: background)
        with pytest.raises(
            FitError, match=r"run: cannot be written to \(No space left on device\); what was saved"
        ) as e:
            train(run_of(data, folder), seen.append)
    assert str(e.value).endswith("still there; make room for it, then continue with --resume")
    assert saved_steps(folder)[0] == step - 4
    assert max(report.step for report in seen if isinstance(report, StepReport)) >= step
    train(run_of(data, folder, resume=True), quietly, resume=True)
    assert_same_run(folder, whole)
    assert not [*folder.rglob("*.partial-*"), *folder.rglob(".fit-*")]


def test_room_for_a_copy_of_the_state(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of(data, tmp_path / "none", ema=0.5)
    assert run.work is not None
    step = estimate_step(run.work, run.plan).needed_bytes
    # Weights, two moments and the average.
    copy = 4 * 4 * sum(tensor.numel() for tensor in build(run.config.model).parameters())
    assert has_room_for_copy(replace(run, memory_bytes=step + copy))
    assert not has_room_for_copy(replace(run, memory_bytes=step + copy - 1))
    monkeypatch.setattr(execution_choice, "available_bytes", lambda: 2 * copy - 1)
    assert not has_room_for_copy(run)
    monkeypatch.setattr(execution_choice, "available_bytes", lambda: 2 * copy)
    assert has_room_for_copy(run)


def test_an_unexpected_error_in_the_thread_is_raised_as_it_is(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(saver_module, "save_state", broken)
    with pytest.raises(ZeroDivisionError):
        train(run_of(data, tmp_path / "run"), quietly)


def test_a_process_that_does_not_write_takes_part_in_snapshots(data: Path, tmp_path: Path) -> None:
    gathered = []

    def gather(copy: bool) -> State:
        gathered.append(copy)
        return {}

    with Saver(replace(run_of(data, tmp_path / "none"), folder=tmp_path / "run"), gather, lambda: None, Progress(),
               writes=False) as saver:  # fmt: skip
        saver.save(Progress(step=3))
        assert not saver.busy
    assert gathered == [True]
    assert not (tmp_path / "run").exists()


def test_a_log_that_cannot_be_written(small_disk: Path) -> None:
    (small_disk / "config.json").write_text("{}")
    report = StepReport(step=1, epoch=1, loss=1, learning_rate=1, gradient_norm=1, images_per_second=1,
                        patches_per_second=1, data_wait=0, peak_bytes=1, scores={})  # fmt: skip
    message = r"disk: cannot be written to \(No space left on device\); what"
    with pytest.raises(FitError, match=message), MetricsLog(small_disk, 0) as log:  # noqa: PT012
        (small_disk / "ballast").write_bytes(bytes((4 << 20) - 64 * 1024))
        while True:
            log(report)


@pytest.mark.more
def test_a_file_system_that_fills_up(data: Path, tmp_path: Path, small_disk: Path, fit: Fit) -> None:
    """Real writes fail in the middle of some file. With more room, the resumed run is the same run."""
    whole, run = tmp_path / "whole", small_disk / "run"
    arguments = ["train", data, "--preset", "debug", "--steps", 12, "--batch-size", 2, "--device", "cpu", "--out"]
    assert fit(*arguments, whole).exit_code == 0
    # The first state, without moments, takes 1.2 MB; the others are three times as large.
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1 << 20))
    result = fit(*arguments, run)
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    (message,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert message.startswith(f"error: {run}: cannot be written to (No space left on device); what was saved before is")
    assert not list(run.rglob(".fit-*"))
    before = saved_steps(run)[0]
    assert fit(*arguments, run, "--resume").exit_code == 1, "still no room"
    assert saved_steps(run)[0] >= before
    ballast.unlink()
    bigger = Path(shutil.copytree(run, tmp_path / "moved"))
    assert fit(*arguments, bigger, "--resume").exit_code == 0
    assert_same_run(bigger, whole)
