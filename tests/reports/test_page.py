"""A page is one file below 5 MB that loads nothing; where it cannot be written, one line says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.html_pages import ParsedPage

from fitcli.errors import FitError
from fitcli.reports.page import LARGEST, check_page, fragment, page, write_page
from fitcli.reports.parts import Case, Chart, ChartSeries, DataTable, Gallery, Lines, Picture, Section


def test_sections_have_links_and_empty_ones_are_left_out() -> None:
    parsed = ParsedPage.of(page("<b>", ("about",), [Section("One", [Lines(["x"])]), Section("None", [])]))
    assert parsed.text.count("One") == 2
    assert "None" not in parsed.text
    assert parsed.tags[0] == "html"
    assert parsed.tags.count("nav") == parsed.tags.count("main") == parsed.tags.count("h1") == 1


def test_a_page_of_far_too_much_stays_below_its_bound() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (420, 420, 3), np.uint8)
    cases = [Case("n" * 1000, "t" * 1000, [Picture(noise, "p")] * 3) for _ in range(20)]
    steps, values = list(range(50_000)), np.random.default_rng(1).random(50_000).tolist()
    charts = [Chart(title="c", x="x", y="y", series=[ChartSeries("s", steps, values)] * 7)] * 15
    table = DataTable("t", ["c" * 100] * 40, [["<" * 400] * 40] * 10_000)
    text = page("t", ["l" * 10_000] * 10, [Section("all", [*charts, table, Gallery("g", cases)])])
    assert "pictures left out, so that the page stays small" in ParsedPage.of(text).text
    assert len(text.encode()) < LARGEST + 40 * 300 * 400 * 4  # the cells of a table nobody writes
    assert len(page("t", (), [Section("all", [*charts, Gallery("g", cases)])]).encode()) < LARGEST


def test_a_page_is_written_whole(tmp_path: Path) -> None:
    write_page("--report", tmp_path / "a.html", "text")
    assert (tmp_path / "a.html").read_text() == "text"
    with pytest.raises(FitError, match=r"--report .*missing/a.html: cannot be written"):
        write_page("--report", tmp_path / "missing" / "a.html", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["a.html"]


@pytest.mark.parametrize("name", ["a.png", "a", "folder.html", "none/a.html", "data.html"])
def test_impossible_names_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "data.html").touch()
    with pytest.raises(FitError, match="--report"):
        check_page("--report", tmp_path / name, [tmp_path / "data.html"])
    check_page("--report", tmp_path / "new.HTML", [tmp_path / "data.html"])
    check_page("--report", None, [])


def test_a_fragment_is_a_table() -> None:
    parsed = ParsedPage.of(fragment("c", ("a", "b"), [("<i>", "2")], Lines(["more"])))
    assert parsed.tables == [[["a", "b"], ["<i>", "2"]]]
    assert "more" in parsed.text
