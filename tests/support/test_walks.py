"""Walks: every value runs by default, and every case is in exactly one of two runs."""

from __future__ import annotations

import itertools

import pytest
from support.walks import covering_rows, spaced_positions

pytest_plugins = ["pytester"]

WALKS = """
    import pytest

    pytestmark = pytest.mark.filterwarnings("ignore")

    @pytest.mark.walk
    @pytest.mark.parametrize("one", "abc")
    @pytest.mark.parametrize(("two", "three"), [({"no": "hash"}, 2), ({"no": "hash"}, 2.0)])
    def test_table(one, two, three): pass

    @pytest.mark.walk
    def test_alone(): pass

    @pytest.mark.parametrize("one", "abc")
    def test_all(one): pass

    @pytest.mark.walk(2)
    @pytest.mark.parametrize("one", ["d", pytest.param("e", marks=pytest.mark.slow), "f", "g"])
    def test_list(one): pass

    class TestMethods:
        @pytest.mark.walk(1)
        @pytest.mark.parametrize("one", "hi")
        def test_list(self, one): pass

    @pytest.mark.more
    def test_large(): pass
"""

SETTINGS = """
    [pytest]
    addopts = --strict-markers -p no:cacheprovider
    markers =
        walk
        more
        slow
        gpu
        distributed
        browser
"""

HOOKS = """
    import pytest
    from support.walks import mark_more

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(items):
        mark_more(items)
"""


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
    chosen = spaced_positions(size, count, "test_some")
    assert len(chosen) == min(size, count)
    gaps = [after - before for before, after in itertools.pairwise([*chosen, chosen[0] + size])]
    assert max(gaps) - min(gaps) <= 1


def test_samples_of_tests_of_one_list_see_all_of_it() -> None:
    names = [f"test_{number}" for number in range(40)]
    assert set().union(*(spaced_positions(5, 2, name) for name in names)) == set(range(5))


def chosen_by(pytester: pytest.Pytester, marks: str) -> list[str]:
    """Return the names of the tests that pytest chooses by marks."""
    result = pytester.runpytest_inprocess("--collect-only", "-q", "-m", marks)
    return [line.split("::")[-1] for line in result.outlines if "::" in line]


def test_each_case_runs_by_default_or_with_more(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(WALKS)
    pytester.makeini(SETTINGS)
    pytester.makeconftest(HOOKS)
    default, more, every = (chosen_by(pytester, marks) for marks in ("not slow and not more", "more", ""))
    assert sorted([*default, *more, "test_list[e]"]) == sorted(every), "the one that is slow is in none of both"
    assert len(every) == 6 + 1 + 3 + 4 + 2 + 1
    assert "test_large" in more
    assert {"test_alone", "test_all[a]", "test_all[b]", "test_all[c]"} < set(default)
    table = [name[11:-1].split("-") for name in default if name.startswith("test_table")]
    assert len(table) == 3
    assert {row[-1] for row in table} == {"a", "b", "c"}
    assert {row[0] for row in table} == {"two0", "two1"}
    assert {row[1] for row in table} == {"2", "2.0"}, "equal values of two types are two"
    assert sum(name.startswith("test_list[") for name in default) == 2 + 1
    assert chosen_by(pytester, "more") == more, "the same part each time"
