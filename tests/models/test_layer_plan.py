"""Test that layer plans are parsed as they are written, and that errors name malformed ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.batches import encoder_config

from models.checks import ConfigError
from models.layer_plan import parse_plan

MALFORMED = ["", "1", "2(1)", "(1)1 (1)", "(-1)1", "(1.5)1", "((1)1", "(1)(1)", "[1]1", "(a)1", ")", "()", "(\uff11)1"]


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(1, 99)), min_size=1, max_size=5), st.booleans())
def test_every_plan_is_read_as_it_is_written(plan: list[tuple[int, int]], local_end: bool) -> None:
    text = "".join(f"({local}){mixing}" for local, mixing in plan)
    assert parse_plan(text) == tuple(plan)
    if local_end:
        assert parse_plan(f"{text}(7)") == (*plan, (7, 0)) == parse_plan(f"{text}(7)0")


@pytest.mark.parametrize("plan", MALFORMED)
def test_errors_name_malformed_plans(plan: str) -> None:
    with pytest.raises(ConfigError) as error:
        encoder_config(plan=plan)
    assert repr(plan) in str(error.value)
