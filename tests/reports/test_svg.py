"""Charts are SVG with a title and a description, in any style, of bounded length."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from fitcli.reports.parts import Chart, ChartSeries
from fitcli.reports.svg import description, svg

STYLES = {"line": "path", "faint": "path", "dashed": "path", "steps": "path", "points": "circle", "bars": "rect"}


@pytest.mark.parametrize("style", STYLES)
def test_every_style_is_drawn(style: str) -> None:
    series = ChartSeries("a", [0, 1, 2], [0.5, 0.1, 0.9], style)  # type: ignore[arg-type]
    root = ET.fromstring(svg(Chart(title="<t>", x="x & y", y="y", series=[series])))
    drawn = [each for each in root.iter(STYLES[style]) if (each.get("class") or "").startswith("c0")]
    assert len(drawn) == (1 if STYLES[style] == "path" else 3)
    assert root.findtext("title") == "<t>"
    assert root.get("role") == "img"
    assert {root.find("title").get("id"), root.find("desc").get("id")} == set(
        (root.get("aria-labelledby") or "").split()
    )  # type: ignore[union-attr]


def test_a_chart_of_many_values_is_short() -> None:
    many = list(range(200_000))
    chart = Chart(
        title="t", x="x", y="y", series=[ChartSeries("a", many, many), ChartSeries("b", many, many, "points")]
    )
    assert len(svg(chart)) < 200_000


def test_the_description_says_the_ends() -> None:
    chart = Chart(title="t", x="step", y="loss", series=[ChartSeries("training", [0, 10], [2.5, 0.25])])
    assert description(chart) == "loss by step. training: 0, 2.5 to 10, 0.25."
