"""Polygons of one ring are cut out of a text, and everything else is what `json` reads."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.polygons import square

from fitcli.annotations.ring_text import DecodedRings, decode_rings


def restored(value: Any, rings: DecodedRings) -> Any:
    """Return a value with coordinates in place of names."""
    if isinstance(value, dict):
        return {name: restored(each, rings) for name, each in value.items()}
    if isinstance(value, list):
        return [restored(each, rings) for each in value]
    return [rings.ring(value).tolist()] if isinstance(value, str) and value in rings.numbers else value


points = st.tuples(st.integers(-99, 99), st.floats(-99, 99).map(lambda value: round(value, 3))).map(list)
values = st.recursive(
    st.none() | st.integers(-9, 9) | st.text(max_size=5) | st.just('"coordinates":[[[1,2]]]'),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "coordinates", '"coordinates"']), inner, max_size=3)
        | st.lists(points, min_size=1, max_size=6).map(lambda ring: {"coordinates": [ring]})
    ),
    max_leaves=12,
)


@given(values, st.sampled_from([None, 0, 2]))
def test_with_its_rings_a_text_is_what_json_reads(value: Any, indent: int | None) -> None:
    text = json.dumps(value, indent=indent)
    assert restored(*decode_rings(text)) == json.loads(text)


LEFT_ALONE = {
    "holes": [*square(0, 0, 9), *square(3, 3, 2)],
    "heights": [[[0, 0, 7], [4, 0, 7], [4, 4, 7]]],
    "exponents": [[[0, 0], [1e-7, 0], [4, 4]]],
    "texts": [[["0", 0], [1, 0], [4, 4]]],
    "long numbers": [[[10**50, 0], [1, 0], [4, 4]]],
    "no points": [[]],
    "several parts": [square(0, 0, 9), square(20, 0, 9)],
}


@pytest.mark.parametrize("kind", LEFT_ALONE)
def test_other_coordinates_stay_lists(kind: str) -> None:
    value = [{"coordinates": LEFT_ALONE[kind]}]
    found, rings = decode_rings(json.dumps(value))
    assert found == json.loads(json.dumps(value))
    assert not rings.numbers


def test_rings_are_closed_and_known_to_have_an_area() -> None:
    shapes = [[[0, 0], [4, 0], [4, 4]], [[0, 0], [4, 0], [4, 4], [0, 0]], [[1, 1], [1, 1], [2, 2], [3, 3]], [[5, 5]]]
    _, rings = decode_rings(json.dumps([{"coordinates": [shape]} for shape in shapes]))
    assert rings.starts.tolist() == [0, 4, 8, 13, 14]
    assert rings.given.tolist() == [3, 4, 4, 1]
    assert rings.points[:8].tolist() == [[0, 0], [4, 0], [4, 4], [0, 0]] * 2
    assert rings.has_area.tolist() == [True, True, False, False]


@pytest.mark.parametrize("text", ['[{"coordinates":[[[1,2],[01,2]]]}]', '{"coordinates":[[[1,.5]]]}', "[", "[" * 99999])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises((ValueError, RecursionError)):
        decode_rings(text)
