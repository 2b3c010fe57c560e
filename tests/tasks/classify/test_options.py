"""The options of a classifier in settings of every version."""

from __future__ import annotations

from fitcli.tasks.classify.options import ClassifyOptions


def test_runs_of_earlier_versions_imitate_no_larger_images() -> None:
    upgraded = ClassifyOptions.upgraded
    assert upgraded({"balance": True, "background": 0.1})["larger_images"] == 1
    assert upgraded({"larger_images": 4})["larger_images"] == 4
    assert ClassifyOptions().larger_images == 16
