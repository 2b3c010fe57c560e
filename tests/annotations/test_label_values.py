"""Values of label images as class numbers, for every dtype, and their counts."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from fitcli.annotations.class_table import IGNORED, ClassTable
from fitcli.annotations.label_values import UNKNOWN, ValueLookup, count_values, values_text

DTYPES = ("bool", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8")
TABLE = ClassTable(("a", "b", "c", "d"), (1, 0, 7, 65535))


def expected_number(value: float, nodata: float | None) -> int:
    if value == nodata or not math.isfinite(value):
        return IGNORED
    if value in TABLE.values:
        return TABLE.values.index(int(value))
    return IGNORED if value == 255 else UNKNOWN


def extremes(dtype: str) -> np.ndarray:
    kind = np.dtype(dtype)
    candidates = [0, 1, 7, 8, 65535, 255, 127, -1, 3, 65536, 2**31, 2**40, 65537]
    if kind.kind == "f":
        largest = np.finfo(kind).max
        candidates += [0.5, 6.9, -0.25, np.nan, np.inf, -np.inf, largest, -largest]
    elif kind.kind != "b":
        limits = np.iinfo(kind)
        candidates = [c for c in [*candidates, limits.min, limits.max] if limits.min <= c <= limits.max]
    else:
        candidates = [0, 1]
    with np.errstate(over="ignore"):
        return np.array(candidates).astype(kind) if kind.kind == "f" else np.array(candidates, kind)


@pytest.mark.parametrize("nodata", [None, 0, 3, -1, float("nan"), 1e40])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.filterwarnings("error")
def test_numbers(dtype: str, nodata: float | None) -> None:
    values = extremes(dtype)
    found = ValueLookup(TABLE).numbers(values[:, None, None], nodata)[:, 0, 0]
    cut = None if nodata is None else min(nodata, float(np.finfo(dtype).max)) if dtype[0] == "f" else nodata
    assert found.tolist() == [expected_number(value.item(), cut) for value in values]
    counts = count_values(values, nodata)
    plain = [v.item() for v in values if np.isfinite(v) and v.item() != cut]
    assert counts.pixels == Counter(int(v) if v == int(v) else v for v in plain)
    assert counts.missing == len(values) - len(plain)
    assert all(isinstance(v, int) or v != int(v) or abs(v) >= 2**64 for v in counts.pixels)
    lookup = ValueLookup(TABLE)
    assert [lookup.number(v) for v in counts.pixels] == [expected_number(v, None) for v in counts.pixels]


def test_255_may_be_a_class() -> None:
    values = np.array([0, 255], np.uint8)
    assert ValueLookup(ClassTable(("a", "b"), (0, 255))).numbers(values, None).tolist() == [0, 1]


def test_text() -> None:
    assert values_text([(7, 1200), (0.5, 1)]) == "7 (1,200 pixels), 0.5 (1 pixel)"
    assert values_text((value, 2) for value in range(9)).endswith("4 (2 pixels), ...")
