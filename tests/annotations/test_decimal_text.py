"""Many numbers parsed at once are those of Python, and what is no number of JSON is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitcli.annotations.decimal_text import parse_decimals

numbers = st.one_of(
    st.integers(-(10**20), 10**20).map(str),
    st.decimals(-(10**9), 10**9, places=6, allow_nan=False).map(lambda value: f"{value:f}"),
    st.floats(-1e6, 1e6).map(lambda value: f"{value:.12f}"),
    st.floats(-1e6, 1e6).map(lambda value: f"{value:.25f}"),
    st.sampled_from(["0", "-0", "0.0", "-0.5", "0.1", "123456789012345", "0.30000000000000004", "1234567.12345678"]),
)


@given(st.lists(numbers, min_size=1, max_size=60))
def test_numbers_are_those_of_python(texts: list[str]) -> None:
    assert parse_decimals(",".join(texts).encode()).tolist() == [float(text) for text in texts]


@given(st.lists(st.floats(-1000, 1000).map(lambda value: f"{value:.2f}"), min_size=1, max_size=60))
def test_short_numbers_are_those_of_python(texts: list[str]) -> None:
    found = parse_decimals(",".join(texts).encode())
    assert found.tobytes() == np.array([float(text) for text in texts]).tobytes(), "bit by bit"


@pytest.mark.parametrize("text", ["01", "-01", "1.", ".5", "-.5", "1.2.3", ".", "..", "00.5", "-00"])
@pytest.mark.parametrize("around", ["{}", "1,{}", "{},2.5", "1.5,{},3"])
def test_other_numbers_are_refused(text: str, around: str) -> None:
    with pytest.raises(ValueError, match="a number"):
        parse_decimals(around.format(text).encode())
