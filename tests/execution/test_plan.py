"""Impossible execution plans are refused."""

from __future__ import annotations

from typing import Any

import pytest

from fitcli.execution.plan import ExecutionPlan


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"kind": "fast"}, "kind must be one of plain, layers"),
        ({"store": "tape"}, "store must be one of"),
        ({"global_layers": "some"}, "global_layers must be one of"),
        ({"handful": 0}, "at least one group, not 0"),
        ({"keep": 1.5}, r"keep must lie in \[0, 1\], not 1.5"),
        ({"kind": "recompute", "global_layers": "rerun"}, '"rerun" needs the kind "stream"'),
    ],
)
def test_impossible_plans_are_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ExecutionPlan(**values)
