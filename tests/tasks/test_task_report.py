"""Every task has a report with the members of the protocol, and the worst images come first."""

from __future__ import annotations

from typing import get_type_hints

import pytest

from fitcli.tasks.registry import TASKS, find_task
from fitcli.tasks.task_report import TaskReport, class_text, ordered


@pytest.mark.parametrize("name", list(TASKS))
def test_every_task_has_a_report(name: str) -> None:
    kind = get_type_hints(type(find_task(name)).report)["return"]
    for member in ("sections", "badness", "case", "colors", "samples"):
        assert callable(getattr(kind, member)), member
        assert hasattr(TaskReport, member)


def test_the_worst_come_first() -> None:
    assert ordered({4: 0.5, 1: 2.0, 3: 0.5, 0: -1.0}) == [1, 3, 4, 0]


def test_names_of_classes() -> None:
    assert [class_text(("a", "b"), number) for number in (1, -1, 2, None)] == ["b", "unknown", "unknown", "unknown"]
