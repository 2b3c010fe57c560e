"""A run that is stopped by a signal or at its time limit is saved; resumed, it is the same run."""

from __future__ import annotations

import signal
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.runs import assert_same_run, logged
from support.small_runs import at, interrupt, quietly, run_of, two_classes

from fitcli.interrupts import STOP_SIGNALS
from fitcli.training import stop_requests
from fitcli.training.loop import train
from fitcli.training.reports import BeginReport, Report, StepReport, StopReport
from fitcli.training.stop_requests import StopReason, StopRequests, TimeLimitReached, catch_stop_requests


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_classes(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def uninterrupted(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of eight steps, four per epoch."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    assert train(run_of(data, folder), quietly).step == 8
    return folder


@pytest.mark.walk(2)
# In the middle and at the end of an epoch, in the middle of the last, at the end of the run, twice.
@pytest.mark.parametrize("stops", [[1], [4], [6], [8], [3, 7]], ids=str)
def test_an_interrupted_run_is_the_same_run(data: Path, uninterrupted: Path, tmp_path: Path, stops: list[int]) -> None:
    folder = tmp_path / "run"
    handler = signal.getsignal(signal.SIGINT)
    for number, step in enumerate(stops):
        with pytest.raises(KeyboardInterrupt, match="--resume"):
            train(run_of(data, folder, resume=number > 0), at(step, interrupt), resume=number > 0)
        assert logged(folder)[-1] == ("train", step), "it stops after the step"
        assert (folder / "model.safetensors").is_file(), "its weights can be used"
    assert signal.getsignal(signal.SIGINT) is handler
    train(run_of(data, folder, resume=True), quietly, resume=True)
    assert_same_run(folder, uninterrupted)


def test_a_run_at_its_time_limit_is_the_same_run(data: Path, uninterrupted: Path, tmp_path: Path) -> None:
    """Each start does one step, even after its deadline. The validation after the fourth waits for the next start."""
    folder = tmp_path / "run"
    for step in range(1, 6):
        run = replace(run_of(data, folder, resume=step > 1), deadline=0.0)
        with pytest.raises(TimeLimitReached, match=f"{step} of 8 steps at the time limit; continue with --resume"):
            train(run, quietly, resume=step > 1)
        assert logged(folder)[-1] == ("train", step)
        assert (folder / "last/model.safetensors").is_file()
    train(run_of(data, folder, resume=True), quietly, resume=True)
    assert_same_run(folder, uninterrupted)


def test_the_time_limit_passes_within_a_step(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(stop_requests, "time", SimpleNamespace(monotonic=lambda: now))

    def pass_time() -> None:
        nonlocal now
        now = 60.0

    with pytest.raises(TimeLimitReached, match="3 of 8 steps"):
        train(replace(run_of(data, tmp_path / "run"), deadline=60.0), at(3, pass_time))
    with pytest.raises(KeyboardInterrupt):  # A request counts more than the time limit, which has passed as well.
        train(replace(run_of(data, tmp_path / "other"), deadline=60.0), at(1, interrupt))


def test_a_request_before_the_first_step(
    data: Path, uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A validation is due: it waits for the next start, and no step is done before it."""
    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(run_of(data, folder), at(4, interrupt))
    with monkeypatch.context() as patch:
        patch.setattr(StopRequests, "reason", lambda _: StopReason.REQUEST)
        with pytest.raises(KeyboardInterrupt):
            train(run_of(data, folder, resume=True), quietly, resume=True)
    assert logged(folder)[-1] == ("train", 4)
    train(run_of(data, folder, resume=True), quietly, resume=True)
    assert_same_run(folder, uninterrupted)


def test_a_request_is_reported(data: Path, tmp_path: Path) -> None:
    seen: list[Report] = []

    def observe(report: Report) -> None:
        seen.append(report)
        if isinstance(report, StepReport):
            interrupt()

    with pytest.raises(KeyboardInterrupt):
        train(run_of(data, tmp_path / "run"), observe)
    assert [type(report) for report in seen] == [BeginReport, StepReport, StopReport]


def test_a_second_ctrl_c_stops_at_once() -> None:
    calls: list[str] = []
    before = signal.getsignal(signal.SIGINT)
    with catch_stop_requests(lambda: calls.append("requested")) as requests:
        assert requests.reason() == StopReason.NEVER
        signal.raise_signal(signal.SIGINT)
        assert requests.reason() == StopReason.REQUEST
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert calls == ["requested"]
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("number", STOP_SIGNALS)
@pytest.mark.parametrize("torchrun", [False, True])
def test_a_signal_that_a_queue_sends_twice_is_one_request(
    number: signal.Signals, torchrun: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A queue sends it to torchrun and to its processes, and torchrun sends it to these again."""
    if number == signal.SIGINT and not torchrun:
        return
    if torchrun:
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    calls: list[str] = []
    before = signal.getsignal(number)
    with catch_stop_requests(lambda: calls.append("requested")) as requests:
        assert requests.reason() == StopReason.NEVER
        for _ in range(3):
            signal.raise_signal(number)
            assert requests.reason() == StopReason.REQUEST
    assert calls == ["requested"]
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_an_ignored_signal_stays_ignored(number: signal.Signals) -> None:
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with catch_stop_requests(lambda: None) as requests:
            signal.raise_signal(number)
            assert requests.reason() == StopReason.NEVER
        assert signal.getsignal(number) == signal.SIG_IGN
    finally:
        signal.signal(number, before)


def test_signals_are_left_alone_outside_of_the_main_thread() -> None:
    handlers: list[object] = []

    def run() -> None:
        with catch_stop_requests(lambda: None) as requests:
            handlers.append(signal.getsignal(signal.SIGINT))
            assert requests.reason() == StopReason.NEVER

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert handlers == [before]
