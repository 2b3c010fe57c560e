"""TensorBoard reads the events that a run writes; a run continues if it cannot write them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.command_line import Fit
from support.runs import metrics
from support.small_runs import at, quietly, run_of, two_classes
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fitcli.training.loop import train
from fitcli.training.reports import EventsReport, Report
from fitcli.training.tensorboard_events import EventFile


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Return (step, value) of everything that TensorBoard shows, by tag."""
    shown = EventAccumulator(str(folder)).Reload()
    return {tag: [(event.step, event.value) for event in shown.Scalars(tag)] for tag in shown.Tags()["scalars"]}


def fail(error: OSError) -> None:
    raise error


def test_repeated_steps_replace_the_earlier_ones(tmp_path: Path) -> None:
    folder = tmp_path / "tensorboard"
    first = EventFile(folder, 1, fail)
    for step in range(1, 6):
        first.add(step, {"train/loss": step, "train/rate": 0.5})
    second = EventFile(folder, 4, fail)
    for step in range(4, 7):
        second.add(step, {"train/loss": 10 * step})
    assert len(list(folder.iterdir())) == 2
    found = scalars(folder)
    assert found["train/loss"] == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 40.0), (5, 50.0), (6, 60.0)]
    assert found["train/rate"] == [(1, 0.5), (2, 0.5), (3, 0.5)]


def test_tensorboard_shows_what_the_run_has_logged(tmp_path: Path) -> None:
    train(run_of(two_classes(tmp_path / "data"), tmp_path / "run"), quietly)
    found = scalars(tmp_path / "run/tensorboard")
    for kind in ("train", "validation"):
        logged = [(entry["step"], entry["loss"]) for entry in metrics(tmp_path / "run") if entry["kind"] == kind]
        assert [step for step, _ in found[f"{kind}/loss"]] == [step for step, _ in logged]
        assert [value for _, value in found[f"{kind}/loss"]] == pytest.approx([value for _, value in logged])
    assert "validation/accuracy" in found


def test_a_run_continues_without_events(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run, reports = tmp_path / "run", list[Report]()
    remove = at(2, lambda: shutil.rmtree(run / "tensorboard"))

    def observe(report: Report) -> None:
        reports.append(report)
        remove(report)

    train(run_of(two_classes(tmp_path / "data"), run), observe)
    (lost,) = [report for report in reports if isinstance(report, EventsReport)]
    assert lost.reason == f"{run / 'tensorboard'}: cannot be written to (No such file or directory)"
    assert len([entry for entry in metrics(run) if entry["kind"] == "train"]) == 8
    assert "".join(capfd.readouterr()) == ""


def test_the_loss_of_events_is_one_warning(fit: Fit, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(run_of(two_classes(tmp_path / "data"), run, epochs=1), quietly)
    shutil.rmtree(run / "tensorboard")
    (run / "tensorboard").touch()
    result = fit("train", tmp_path / "data", "--out", run, "--resume", "--epochs", 2, "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    (warning,) = [line for line in result.stderr.splitlines() if line.startswith("warning: ")]
    assert warning.startswith(f"warning: {run / 'tensorboard'}: cannot be written to (File exists); continuing without")
