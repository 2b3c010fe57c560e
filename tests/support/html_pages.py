"""Parses the pages of reports, and checks that they need nothing else."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Self

VOID = {"meta", "img", "br", "link", "input", "hr"}
"""Elements without an end."""

LOADS = {"src", "href", "data", "action", "srcset", "poster", "background", "xlink:href"}
"""Attributes that name something to load or to follow."""


class ParsedPage(HTMLParser):
    """The elements of a page.

    Attributes:
        tags: Names of all elements, in order.
        images: Attributes of the pictures.
        tables: Cells of each table, by row.
        facts: Value of each fact by its name.
        text: All text but the style sheet.
    """

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.images: list[dict[str, str]] = []
        self.tables: list[list[list[str]]] = []
        self.facts: dict[str, str] = {}
        self.text = ""
        self._open: list[str] = []
        self._name = ""

    @classmethod
    def of(cls, html: str) -> Self:
        """Parse a page, and check that its elements are closed in order, and that it loads and runs nothing."""
        page = cls()
        page.feed(html)
        page.close()
        assert not page._open, f"not closed: {page._open}"
        assert not {"script", "link", "iframe", "object", "embed", "form", "base"} & set(page.tags)
        style = html[html.find("<style>") : html.find("</style>")]
        assert not re.search(r"url\(|@import|expression\(", style)
        return page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = {name: value or "" for name, value in attrs}
        for name, value in values.items():
            assert not name.startswith("on"), (tag, name)
            if name in LOADS:
                assert value.startswith(("data:image/jpeg;base64,", "data:image/png;base64,", "#")), (tag, name, value)
        if tag not in VOID:
            self._open.append(tag)
        if tag == "img":
            assert values["alt"]
            self.images.append(values)
        elif tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            assert tag == "td" or values["scope"] in ("col", "row")
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open
        assert self._open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        inner = self._open[-1] if self._open else ""
        if inner == "style":
            return
        self.text += data
        if inner in ("td", "th"):
            self.tables[-1][-1][-1] += data
        elif inner == "dt":
            self._name = data
        elif inner == "dd":
            self.facts[self._name] = data
        elif inner == "span" and "dd" in self._open:
            self.facts[self._name] += f" {data}"
