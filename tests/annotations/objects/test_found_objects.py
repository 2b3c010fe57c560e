"""Found objects in other pixels."""

from __future__ import annotations

import numpy as np

from fitcli.annotations.objects.found_objects import FoundObjects


def test_scaled() -> None:
    found = FoundObjects(np.array([(1.0, 2.0, 3.0, 4.0)]), np.array([0.5], np.float32), np.array([0], np.int32), False)
    assert found.scaled(2, 3).boxes.tolist() == [[2, 6, 6, 12]]
    assert len(found) == 1
