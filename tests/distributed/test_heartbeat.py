"""A process that gives no sign of life is named, and one that waits or works for long is not."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from support.processes import run_ranks
from support.system_calls import in_child

from fitcli import console
from fitcli.distributed import heartbeat
from fitcli.distributed.heartbeat import LEFT, Heartbeat, Silence, duration, end_process, exchanging, working_alone
from fitcli.distributed.process_group import connected_store, read_world


class Store:
    """A key-value store that answers, or fails."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.answers = True

    def _asked(self) -> None:
        if not self.answers:
            raise RuntimeError("connection reset by peer")

    def add(self, key: str, amount: int) -> int:
        self._asked()
        self.values[key] = str(int(self.values.get(key, 0)) + amount)
        return int(self.values[key])

    def set(self, key: str, value: str) -> None:
        self._asked()
        self.values[key] = value

    def get(self, key: str) -> bytes:
        self._asked()
        return self.values[key].encode()

    def multi_get(self, keys: list[str]) -> list[bytes]:
        return [self.get(key) for key in keys]

    def check(self, keys: list[str]) -> bool:
        self._asked()
        return all(key in self.values for key in keys)


@pytest.fixture(autouse=True)
def _own_activity(monkeypatch: pytest.MonkeyPatch) -> None:
    # A thread of another test may still be working alone: then ranks that compute nothing would count as silent.
    monkeypatch.setattr(heartbeat, "_ACTIVITY", heartbeat._Activity())


class Ranks:
    """The signs of several ranks in one process, with a clock that the test moves."""

    def __init__(self, size: int, timeout: float = 600) -> None:
        self.store, self.ended = Store(), dict[int, tuple[str, bool]]()
        # In whole seconds, sums are exact. Else, where a float loses a bit on the way past a power of two, forty times
        # 15 seconds may be less than 600, and a rank ends one round later.
        self.now = float(math.ceil(time.monotonic()))
        self.ranks = [Heartbeat(self.store, "the store", rank, size, timeout, self._end(rank)) for rank in range(size)]

    def _end(self, rank: int) -> Callable[[str, bool], None]:
        return lambda message, speaks: self.ended.setdefault(rank, (message, speaks))

    def go_on(self, seconds: float, alive: set[int]) -> None:
        """Let time pass, in which some ranks live."""
        for _ in range(round(seconds / self.ranks[0].pause)):
            self.now += self.ranks[0].pause
            for rank in alive:
                if rank not in self.ended:
                    with suppress(RuntimeError):
                        self.ranks[rank].talk(self.now)
                    self.ranks[rank].watch(self.now)


@pytest.mark.parametrize("uptime", [8192 - 3900, 8192.3 - 3800, 2**17 + 0.1 - 3700])
def test_a_silent_rank_is_named_by_one_of_the_others(monkeypatch: pytest.MonkeyPatch, uptime: float) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: uptime)
    job = Ranks(3)
    job.go_on(3600, {0, 1, 2})
    job.go_on(585, {0, 2})
    assert not job.ended
    job.go_on(30, {0, 2})
    assert set(job.ended) == {0, 2}
    message = job.ended[0][0]
    assert message.startswith("rank 1 has given no sign of life for 10 minutes (--timeout); what is saved")
    assert sorted(job.ended[rank][1] for rank in (0, 2)) == [False, True], "one prints"


def test_several_are_named_with_their_machines() -> None:
    job = Ranks(3)
    job.store.set("process 2", "process 7 on node3")
    job.go_on(620, {0})
    assert job.ended[0][0].startswith("rank 1 and rank 2 (process 7 on node3) have given no sign of life")


def test_a_rank_that_comes_back_in_time_or_has_finished_is_not_blamed() -> None:
    job = Ranks(2)
    for _ in range(5):
        job.go_on(500, {0})
        job.go_on(30, {0, 1})
    job.store.set("sign 1", LEFT)
    job.go_on(7200, {0})
    assert not job.ended


def test_a_job_that_is_stopped_as_a_whole_blames_nobody() -> None:
    job = Ranks(2)
    job.go_on(60, {0, 1})
    job.now += 86400
    job.go_on(60, {0, 1})
    assert not job.ended


def test_a_store_without_an_answer() -> None:
    job = Ranks(2)
    job.go_on(60, {0, 1})
    job.store.answers = False
    job.go_on(585, {0, 1})
    assert not job.ended
    job.go_on(30, {1})
    message, speaks = job.ended[1]
    assert message.startswith("the store has given no sign of life for 10 minutes")
    assert speaks


def test_only_a_rank_that_should_work_and_does_not_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "process_time", lambda: clock[0])
    store = Store()
    signs = Heartbeat(store, "", 0, 1, 600, lambda message, speaks: None)

    def counted(work: float) -> bool:
        before = signs._count
        clock[0] += work
        signs.give_sign()
        return signs._count > before

    assert counted(0), "waits for nothing in particular"
    with working_alone():
        assert counted(0.01), "computes"
        assert not counted(0.0), "waits for a disk"
        with exchanging():
            assert counted(0), "waits for the others"
        assert not counted(0)
        signs._own_seconds[1] = 0.5
        assert not counted(0.5), "its signs alone are no work"
    assert counted(0)


def test_silence_grows_with_the_observations() -> None:
    silence = Silence(2, 0, 1)
    for now in range(1, 6):
        silence.observe([f"{now}", "same"], now)
    assert silence.seconds == [0, 4]
    assert silence.longer_than(4) == [1]
    silence.observe(["6", "new"], 6)
    assert silence.seconds == [0, 0]


@pytest.mark.parametrize(
    ("seconds", "text"), [(600, "10 minutes"), (60, "1 minute"), (3, "3 seconds"), (1, "1 second")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize("speaks", [True, False])
def test_the_last_words_are_printed_though_messages_are_muted(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, speaks: bool
) -> None:
    monkeypatch.setattr(heartbeat, "GRACE", 0)

    def end() -> None:
        with console.muted(), console.captured():
            end_process("rank 1 has gone", speaks)

    assert in_child(end) == 1
    assert capfd.readouterr().err == ("error: rank 1 has gone\n" if speaks else "")


def stop_one() -> str:
    """Stop rank 1 with a signal; rank 0 lets it go on when it has noticed."""
    ended, messages = threading.Event(), list[str]()

    def end(message: str, speaks: bool) -> None:
        messages.append(message)
        ended.set()

    patch, own = pytest.MonkeyPatch(), read_world()
    patch.setattr(heartbeat, "end_process", end)
    with connected_store(own, 1) as store:
        if own.rank == 1:
            store.set("number", str(os.getpid()))
            os.kill(os.getpid(), signal.SIGSTOP)
            store.set("continued", "")
            return ""
        number = int(store.get("number"))
        assert ended.wait(240)
        while not store.check(["continued"]):
            os.kill(number, signal.SIGCONT)
            time.sleep(0.01)
    return messages[0]


def test_a_stopped_process_is_noticed() -> None:
    message, _ = run_ranks(2, stop_one)
    assert message.startswith("rank 1 (process ")
    assert "has given no sign of life for 1 second (--timeout)" in message
