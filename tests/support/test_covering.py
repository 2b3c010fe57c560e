"""Parts of tables: every value is there, and the rest is slow."""

from __future__ import annotations

import itertools

import pytest
from support.covering import covering_rows, mark_rest_slow, sampled_positions

pytest_plugins = ["pytester"]


@pytest.mark.parametrize("sizes", [(1,), (5,), (3, 3), (2, 7), (4, 3, 2), (2, 2, 2, 5)])
def test_every_value_is_there_in_as_few_rows_as_the_longest_axis_has(sizes: tuple[int, ...]) -> None:
    rows = list(itertools.product(*map(range, sizes)))
    chosen = [rows[number] for number in covering_rows(rows)]
    assert [len(set(column)) for column in zip(*chosen, strict=True)] == list(sizes)
    assert len(chosen) == max(sizes)


def test_rows_do_not_repeat_a_pair_where_another_would_do() -> None:
    rows = list(itertools.product(range(4), range(2), range(2)))
    chosen = [rows[number] for number in covering_rows(rows)]
    assert {row[1:] for row in chosen} == set(itertools.product(range(2), range(2)))


def test_tables_without_some_combinations() -> None:
    rows = [("a", 1), ("a", 2), ("b", 1), ("c", 1), ("a", 1)]
    chosen = [rows[number] for number in covering_rows(rows)]
    assert {row[0] for row in chosen} == set("abc")
    assert {row[1] for row in chosen} == {1, 2}
    assert covering_rows([]) == []


@pytest.mark.parametrize(("size", "count"), [(1, 1), (5, 2), (6, 3), (7, 3), (50, 12), (3, 4)])
def test_a_sample_is_evenly_spaced(size: int, count: int) -> None:
    chosen = sorted(sampled_positions(size, count, "test_some"))
    assert len(chosen) == min(size, count)
    gaps = [after - before for before, after in itertools.pairwise([*chosen, chosen[0] + size])]
    assert max(gaps) - min(gaps) <= 1


def test_samples_of_tests_of_one_list_see_all_of_it() -> None:
    names = [f"test_{number}" for number in range(40)]
    assert set().union(*(sampled_positions(5, 2, name) for name in names)) == set(range(5))


def test_marked_tests(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import pytest

        @pytest.mark.covered
        @pytest.mark.parametrize("one", "abc")
        @pytest.mark.parametrize(("two", "three"), [(1, 2), (3, 4)])
        def test_some(one, two, three): pass

        @pytest.mark.covered
        def test_alone(): pass

        @pytest.mark.parametrize("one", "abc")
        def test_all(one): pass

        @pytest.mark.sampled(2)
        @pytest.mark.parametrize("one", ["d", pytest.param("e", marks=pytest.mark.slow), "f", "g"])
        def test_sample(one): pass
    """)
    items, _ = pytester.inline_genitems()
    mark_rest_slow(items)
    fast = [item.name for item in items if not item.get_closest_marker("slow")]
    assert len(fast) == 3 + 1 + 3 + 2
    assert "test_sample[e]" not in fast
    assert {name[10:-1].split("-")[-1] for name in fast if "some" in name} == {"a", "b", "c"}
    assert {name[10:-1].split("-")[0] for name in fast if "some" in name} == {"1", "3"}
