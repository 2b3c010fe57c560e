"""Each part becomes HTML; tables, classes and pictures have bounds."""

from __future__ import annotations

import base64
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from support.html_pages import ParsedPage

from fitcli.reports import parts as parts_module
from fitcli.reports.markup import MOST_CLASSES, MOST_ROWS, Markup
from fitcli.reports.parts import (
    Case,
    Chart,
    ChartSeries,
    ColorKey,
    CountMatrix,
    DataTable,
    Facts,
    Gallery,
    Lines,
    Part,
    Picture,
    Section,
)

HOSTILE = "<img src=x onerror=alert(1)>\"'&\u202e\udcff</style></script>"


def pixels() -> np.ndarray:
    coarse = np.random.default_rng(0).integers(0, 256, (5, 5, 1), np.uint8)
    return coarse.repeat(8, axis=0).repeat(8, axis=1).repeat(3, axis=2)


EVERY: list[Part] = [
    Facts([(HOSTILE, "0.5 (0.4 to 0.6)")]),
    Lines([HOSTILE], warns=True),
    DataTable(HOSTILE, (HOSTILE, "b"), [(HOSTILE, "1.5")]),
    CountMatrix(HOSTILE, (HOSTILE, "b"), [[3, 1], [0, 2]]),
    Chart(title=HOSTILE, x=HOSTILE, y=HOSTILE, series=[ChartSeries(HOSTILE, [0, 1], [0, 1])], text=HOSTILE),
    Gallery(HOSTILE, [Case(HOSTILE, HOSTILE, [Picture(pixels(), HOSTILE)])]),
    ColorKey([((1, 2, 3), HOSTILE)]),
]


def test_every_kind_of_part_is_tried() -> None:
    assert {type(part) for part in EVERY} == set(parts_module.Part.__args__)  # type: ignore[attr-defined]


@pytest.mark.parametrize("part", EVERY, ids=lambda part: type(part).__name__)
def test_hostile_texts_stay_texts(part: Part) -> None:
    html = Markup(100_000).section(Section(HOSTILE, [part]), 0)
    parsed = ParsedPage.of(html)
    assert parsed.text.count("<img src=x onerror=alert(1)>") >= 2
    assert len(parsed.images) == isinstance(part, Gallery)
    html.encode("utf-8")


def test_pictures_are_those_that_were_given() -> None:
    flat = np.zeros((30, 20, 3), np.uint8)
    flat[5:9] = (1, 200, 90)
    html = Markup(100_000).part(Gallery("", [Case("", "t", [Picture(flat, "map", flat=True), Picture(pixels(), "p")])]))
    kept, photo = (
        np.asarray(Image.open(BytesIO(base64.b64decode(image["src"].partition(",")[2]))).convert("RGB"))
        for image in ParsedPage.of(html).images
    )
    np.testing.assert_array_equal(kept, flat)
    assert np.abs(photo.astype(int) - pixels()).mean() < 4


def test_pictures_beyond_the_bound_are_left_out_and_counted() -> None:
    markup = Markup(5000)
    html = markup.part(Gallery("", [Case("", "", [Picture(pixels(), "p") for _ in range(20)])]))
    assert 0 < len(ParsedPage.of(html).images) == 20 - markup.left_out
    assert len(html) < 5000 + 20 * 200


def test_long_tables_are_cut_and_say_so() -> None:
    table = DataTable("", ("a", "b"), [(str(n), "1") for n in range(MOST_ROWS + 7)])
    parsed = ParsedPage.of(f"<div>{Markup(0).part(table)}</div>")
    assert len(parsed.tables[0]) == MOST_ROWS + 1
    assert "7 more rows left out" in parsed.text
    names = [str(n) for n in range(MOST_CLASSES + 3)]
    matrix = Markup(0).part(CountMatrix("", names, np.eye(len(names), dtype=int).tolist()))
    assert "3 more rows and 3 more columns left out" in ParsedPage.of(f"<div>{matrix}</div>").text


def test_columns_of_numbers_stand_at_the_right() -> None:
    html = Markup(0).part(DataTable("", ("a", "b", "c"), [("1", "0.5 (0.4 to 0.6)", "x"), ("2", "-", "3")]))
    assert html.count('<th scope="col" class="number">b</th>') == 1
    assert html.count('class="number"') == 3


def test_a_chart_without_values_says_so() -> None:
    assert "no values" in Markup(0).part(Chart(title="t", x="x", y="y", series=[]))
