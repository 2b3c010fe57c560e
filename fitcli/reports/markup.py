"""Turns the parts of a report into HTML. Every text goes through `escaped`."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from functools import singledispatchmethod
from itertools import groupby

from fitcli.files.wording import counted
from fitcli.images.encoded_picture import encode_picture
from fitcli.reports.escape import escaped
from fitcli.reports.parts import (
    Case,
    Chart,
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
from fitcli.reports.svg import COLORS, svg

MOST_ROWS, MOST_COLUMNS = 300, 40
"""Most rows and columns of a table; of more, the first."""

MOST_LINES = 100
"""Most lines of text of one part."""

LEAST_SIDE = 200
"""Least length of the longer side of a picture that is no crop, in pixels of the page."""

MOST_CLASSES = 30
"""Largest number of classes of a matrix of counts."""

NUMBER = re.compile(r"[-+]?[\d,.]+(e[-+]?\d+)?( ?%| \([^()]*\))?|-|")
"""Cells that stand at the right of their column."""


class Markup:
    """Writes parts as HTML, with pictures of limited size in all.

    Args:
        picture_bytes: Most bytes of pictures as text; further ones are left out, and counted.
    """

    def __init__(self, picture_bytes: int) -> None:
        self._room = picture_bytes
        self.left_out = 0

    def section(self, section: Section, number: int) -> str:
        """Return a section under its heading."""
        return f'<section id="s{number}"><h2>{escaped(section.title)}</h2>{self.parts(section.parts)}</section>\n'

    def parts(self, parts: Sequence[Part]) -> str:
        """Return parts, one below the other; charts stand side by side."""
        written = []
        for is_chart, some in groupby(parts, lambda part: isinstance(part, Chart)):
            inner = "\n".join(map(self.part, some))
            written.append(f'<div class="charts">{inner}</div>' if is_chart else inner)
        return "\n".join(written)

    @singledispatchmethod
    def part(self, part: Part) -> str:
        """Return one part."""
        raise NotImplementedError(type(part).__name__)

    @part.register
    def _(self, part: Facts) -> str:
        items = "".join(f"<div><dt>{escaped(name)}</dt><dd>{_value(value)}</dd></div>" for name, value in part.items)
        return f'<dl class="facts">{items}</dl>'

    @part.register
    def _(self, part: Lines) -> str:
        lines = [f"<li>{escaped(line, 2000)}</li>" for line in part.items[:MOST_LINES]]
        if len(part.items) > MOST_LINES:
            lines.append(f"<li>and {len(part.items) - MOST_LINES:,} more</li>")
        return f'<ul class="lines{" warn" if part.warns else ""}">{"".join(lines)}</ul>' if lines else ""

    @part.register
    def _(self, part: DataTable) -> str:
        columns, rows = part.columns[:MOST_COLUMNS], [row[:MOST_COLUMNS] for row in part.rows[:MOST_ROWS]]
        right = [n > 0 and all(NUMBER.fullmatch(row[n]) for row in rows) for n in range(len(columns))]
        head = "".join(
            f'<th scope="col"{_class(at)}>{escaped(name)}</th>' for name, at in zip(columns, right, strict=True)
        )
        body = []
        for first, *cells in rows:
            others = "".join(f"<td{_class(at)}>{escaped(c)}</td>" for c, at in zip(cells, right[1:], strict=True))
            body.append(f'<tr><th scope="row">{escaped(first)}</th>{others}</tr>')
        return _table(part.caption, head, body) + _rest(len(part.rows) - MOST_ROWS, len(part.columns) - MOST_COLUMNS)

    @part.register
    def _(self, part: CountMatrix) -> str:
        names = part.names[:MOST_CLASSES]
        head = "<td>is \\ found</td>" + "".join(
            f'<th scope="col" class="number">{escaped(name)}</th>' for name in names
        )
        body = []
        for number, (name, row) in enumerate(zip(names, part.counts, strict=False)):
            cells = "".join(_count(value, sum(row), place == number) for place, value in enumerate(row[:MOST_CLASSES]))
            body.append(f'<tr><th scope="row">{escaped(name)}</th>{cells}</tr>')
        further = len(part.names) - MOST_CLASSES
        return _table(part.caption, head, body, "matrix") + _rest(further, further)

    @part.register
    def _(self, part: Chart) -> str:
        title = f'<figcaption class="title">{escaped(part.title)}</figcaption>'
        text = f'<figcaption class="note">{escaped(part.text)}</figcaption>' if part.text else ""
        if not any(len(series.x) for series in part.series):
            return f'<figure>{title}<p class="soft">no values</p></figure>'
        return f"<figure>{title}{svg(part)}{_chart_key(part)}{text}</figure>"

    @part.register
    def _(self, part: ColorKey) -> str:
        items = "".join(
            f'<li><i style="background: rgb({red}, {green}, {blue})"></i>{escaped(name)}</li>'
            for (red, green, blue), name in part.items
        )
        return f'<ul class="key">{items}</ul>'

    @part.register
    def _(self, part: Gallery) -> str:
        cases = "\n".join(map(self._case, part.cases))
        large = max((sum(not picture.crop for picture in case.pictures) for case in part.cases), default=0)
        wide = " wide" if large > 2 else ""
        return f'<h3>{escaped(part.caption)}</h3><div class="cases{wide}">{cases}</div>' if part.cases else ""

    def _case(self, case: Case) -> str:
        pictures = "".join(map(self._picture, case.pictures))
        title = f"<h4>{escaped(case.title)}</h4>" if case.title else ""
        return (
            f'<article class="case">{title}<p>{escaped(case.text)}</p><div class="pictures">{pictures}</div></article>'
        )

    def _picture(self, picture: Picture) -> str:
        mime, data = encode_picture(picture.pixels, picture.flat)
        text = base64.b64encode(data).decode("ascii")
        caption = escaped(picture.caption)
        if len(text) > self._room:
            self.left_out += 1
            return f"<figure><figcaption>{caption} (left out: the page is full)</figcaption></figure>"
        self._room -= len(text)
        height, width = picture.pixels.shape[:2]
        # Small images are enlarged, so that they can be seen.
        larger = 1 if picture.crop else -(-LEAST_SIDE // max(height, width))
        flat = ' class="flat"' if picture.flat or larger > 1 else ""
        image = f'<img{flat} src="data:{mime};base64,{text}" width="{width}" height="{height}" alt="{caption}">'
        kind = ' class="crop"' if picture.crop else f' style="max-width: {larger * width}px"'
        return f"<figure{kind}>{image}<figcaption>{caption}</figcaption></figure>"


def _value(value: str) -> str:
    """Return the value of a fact; its interval stands below it."""
    number, bracket, rest = value.partition(" (")
    return escaped(number) + (f"<span>{escaped(bracket.strip() + rest)}</span>" if bracket else "")


def _class(right: bool) -> str:
    return ' class="number"' if right else ""


def _table(caption: str, head: str, body: Sequence[str], kind: str = "data") -> str:
    title = f"<caption>{escaped(caption)}</caption>" if caption else ""
    rows = "".join(body)
    return (
        f'<div class="scroll"><table class="{kind}">{title}<thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _rest(rows: int, columns: int) -> str:
    """Return a note on rows and columns that are left out."""
    rest = [counted(number, f"more {noun}") for number, noun in ((rows, "row"), (columns, "column")) if number > 0]
    return f'<p class="note">{" and ".join(rest)} left out</p>' if rest else ""


def _count(value: int, total: int, same: bool) -> str:
    share = value / total if total else 0.0
    own = ' class="same"' if same else ""
    return f'<td{own} style="background: rgba(var(--shade), {0.55 * share:.3f})">{value:,}</td>'


def _chart_key(chart: Chart) -> str:
    """Return the legend of a chart; one series without a name needs none."""
    named = [(n if s.color is None else s.color, s) for n, s in enumerate(chart.series) if s.name and len(s.x)]
    items = "".join(
        f'<li><i class="c{color % COLORS}{dashed}"></i>{escaped(series.name)}</li>'
        for color, series in named
        for dashed in [" dashed" * (series.style == "dashed")]
    )
    return f'<ul class="key">{items}</ul>' if items else ""
