"""Damaged and forged files give pixels or an `ImageError`, in bounded time and memory; no other file is touched."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from campaign import SECONDS, Figures, Worker, run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="measures memory through /proc")


def promises_hold(figures: Figures, cases: int) -> None:
    assert figures.cases == cases
    assert not figures.failures, json.dumps(figures.failures[:3], indent=2)
    assert figures.outcomes["pixels"] > cases / 20, "some damage is harmless"
    assert figures.outcomes["ImageError"] > cases / 3, "most is noticed"


def test_300_damaged_files() -> None:
    promises_hold(run(range(300)), 300)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_20000_damaged_files() -> None:
    promises_hold(run(range(1000, 21000)), 20000)


WORKER = """
import json, os, sys, time
for line in sys.stdin:
    path = json.loads(line)
    if path.endswith("crash"):
        os.abort()
    time.sleep(1000 if path.endswith("hang") else 0)
    print(json.dumps({"outcome": "pixels", "detail": "", "seconds": 0, "memory": 0, "outside": []}), flush=True)
"""


def test_hangs_and_crashes_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "worker.py").write_text(WORKER)
    monkeypatch.setattr("campaign.WORKER", tmp_path / "worker.py")
    worker, outcomes = Worker(tmp_path), []
    for name in ("good", "crash", "good", "hang", "good"):
        # Only the answer that never comes is waited for briefly: a busy machine may be slow to start a worker.
        monkeypatch.setattr("campaign.PATIENCE", 0.5 if name == "hang" else 240.0)
        outcomes.append(worker.judge(tmp_path / name)["outcome"])
    worker.stop()
    assert outcomes == ["pixels", "crash", "pixels", "hang", "pixels"]


FINE = {"outcome": "pixels", "detail": "", "seconds": 0.1, "memory": 10, "outside": []}


@pytest.mark.parametrize(
    "broken",
    [
        {"outcome": "ValueError"},
        {"outcome": "crash"},
        {"outcome": "unclear ImageError"},
        {"seconds": SECONDS + 1},
        {"memory": 400_000_000},
        {"outside": ["open /etc/passwd"]},
    ],
)
def test_broken_promises_are_counted(broken: dict[str, Any]) -> None:
    figures = Figures()
    assert figures.add(1, "png-16", FINE)
    assert not figures.add(2, "png-16", FINE | broken)
    assert figures.as_dict()["cases"] == 2
    assert [failure["case"] for failure in figures.failures] == [2]


def test_the_watch_sees_what_happens_outside(tmp_path: Path) -> None:
    code = """
import os, sys
from pathlib import Path
from worker import Watch
watch, inside = Watch(), Path(sys.argv[1])
inside.mkdir()
(inside / "link").symlink_to("/etc/hostname")
watch.inside = os.path.realpath(inside)
list(inside.iterdir())
(inside / "file").open("w").close()
assert not watch.seen, watch.seen
for act in (lambda: open(inside / "link"), lambda: os.open("/etc", os.O_RDONLY), lambda: os.listdir("/etc"),
            lambda: os.remove(inside / "file"), lambda: os.system("true"), lambda: open(str(inside) + "x")):
    before = len(watch.seen)
    try:
        act()
    except OSError:
        pass
    assert len(watch.seen) == before + 1, watch.seen
watch.inside = None
"""
    folder = Path(__file__).parent
    path = [str(folder), str(folder.parent.parent)]
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "inside")],
        env={"PYTHONPATH": ":".join(path)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr


def test_our_own_parsers_keep_their_promises() -> None:
    from atheris_parsers import run_at_random

    run_at_random(3000, seed=1)
