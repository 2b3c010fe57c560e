"""No test fails because the machine is busy: time limits are only there to end what hangs."""

from __future__ import annotations

import re
from pathlib import Path

import hypothesis
import pytest

LEAST = 200
"""Shortest limit in seconds: far above what a test takes on a busy machine."""

LIMIT = re.compile(r"\b(?:timeout\(|timeout=|wait\(|join\(|PATIENCE = |monotonic\(\) \+ )([0-9.]+)")
"""A limit in seconds."""

TIMED = re.compile(r"assert .*(?:perf_counter|monotonic|process_time|\btime\.time)\(.*\).*<=? *[0-9]")
"""A comparison of an elapsed time with a limit."""


def short_limits(text: str) -> list[str]:
    """Return the limits in a text that are too short."""
    return [match[0] for match in LIMIT.finditer(text) if float(match[1]) < LEAST] + TIMED.findall(text)


FOLDERS = sorted({path.parent for path in Path(__file__).parent.rglob("*.py")})


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_limits_are_there_against_hanging_alone(folder: Path) -> None:
    paths = [path for path in folder.glob("*.py") if path != Path(__file__)]
    found = {path.name: short_limits(path.read_text()) for path in paths}
    assert not {name: limits for name, limits in found.items() if limits}


def test_the_check_finds_short_limits() -> None:
    for line in ("@pytest.mark.timeout(20)", "event.wait(30)", "run(timeout=60)", "end = time.monotonic() + 5"):
        assert short_limits(line), line
    assert short_limits("assert time.perf_counter() - began < 10")
    assert not short_limits("@pytest.mark.timeout(3600)\nprocess.wait()")


def test_examples_of_hypothesis_have_no_deadline() -> None:
    assert hypothesis.settings().deadline is None
