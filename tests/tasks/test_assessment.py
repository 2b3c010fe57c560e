"""Reports and scorers of every task keep the model and the settings that they are given."""

from __future__ import annotations

from typing import Any

import pytest

from fitcli.tasks.assessment import Assessment
from fitcli.tasks.registry import TASKS, find_task

SCORED_IN_ENCODINGS = ("classify", "segment", "detect")


@pytest.mark.parametrize("task", TASKS)
def test_members_are_those_that_were_given(task: str) -> None:
    checkpoint, runtime, settings = given = [object() for _ in range(3)]
    made: list[Any] = [find_task(task).report(checkpoint, runtime, settings)]
    if task in SCORED_IN_ENCODINGS:
        made.append(find_task(task).scorer(checkpoint, runtime, settings, whole=True))
    for one in made:
        assert isinstance(one, Assessment)
        assert [one.checkpoint, one.runtime, one.settings] == given
