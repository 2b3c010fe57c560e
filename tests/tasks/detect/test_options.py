"""Options of the task: all are shared with other tasks."""

from __future__ import annotations

from fitcli.runs.option import declared_options
from fitcli.tasks.detect.options import OPTIONS
from fitcli.tasks.registry import task_options


def test_no_option_is_its_own() -> None:
    others = {
        name for task, options in task_options().items() if task != "detect" for name in declared_options(options)
    }
    assert set(declared_options(OPTIONS)) <= others
