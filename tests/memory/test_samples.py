"""The configs whose tables fit ships stand for models with other numbers of classes."""

from __future__ import annotations

import pytest

from fitcli.tasks.registry import TASKS, find_task


@pytest.mark.parametrize("task", TASKS)
def test_the_number_of_classes_needs_no_new_table(task: str) -> None:
    chosen = find_task(task)
    for config in chosen.typical_configs("tiny"):
        assert chosen.typical_config(config) == config
