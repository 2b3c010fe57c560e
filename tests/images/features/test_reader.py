"""What formats of features have in common: which values are features, and which rows are read together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fitcli.errors import ImageError
from fitcli.images.features.reader import ROWS_AT_ONCE, check_values, stretches


@pytest.mark.parametrize(("stored", "read"), [("f2", "f2"), ("f4", "f4"), ("f8", "f4"), (">f4", "f4")])
def test_the_dtype_that_is_read(stored: str, read: str) -> None:
    assert check_values(Path("a"), 512, np.dtype(stored)) == np.dtype(read)


@pytest.mark.parametrize(("count", "dtype"), [(0, "f4"), (70_000, "f4"), (8, "i4"), (8, "O"), (8, "c8"), (8, "?")])
def test_values_that_are_no_features(count: int, dtype: str) -> None:
    with pytest.raises(ImageError, match="features"):
        check_values(Path("a"), count, np.dtype(dtype))


def test_stretches_hold_all_rows_and_few_others() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        rows = np.sort(rng.choice(20_000, int(rng.integers(1, 9000)), replace=False)).astype(np.int64)
        found, total = [], 0
        for first, stop, part in stretches(rows):
            assert stop - first <= ROWS_AT_ONCE
            assert first == rows[part][0]
            assert stop == rows[part][-1] + 1
            found += rows[part].tolist()
            total += stop - first
        assert found == rows.tolist()
        assert total <= 2 * len(rows)


def test_neighbours_are_one_stretch() -> None:
    assert list(stretches(np.arange(5, 21))) == [(5, 21, slice(0, 16))]
