"""Joins the sections of a report to one HTML file that needs nothing else: no script, no network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fitcli import __version__
from fitcli.errors import FitError
from fitcli.files.output_checks import check_not_replaced, check_output_file
from fitcli.files.publish import followed, write_text
from fitcli.files.wording import counted
from fitcli.files.write_errors import reason_and_advice
from fitcli.reports.escape import escaped
from fitcli.reports.markup import Markup
from fitcli.reports.parts import DataTable, Part, Section
from fitcli.reports.style import STYLE

SUFFIXES = (".html", ".htm")
"""Suffixes of pages."""

LARGEST = 5_000_000
"""Largest size of a page, in bytes."""

PICTURE_BYTES = 3_500_000
"""Most bytes of pictures; charts and tables are bounded by their numbers of points and rows."""

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""Content security policy: a browser loads and runs nothing, whatever a name contains."""


def page(title: str, about: Sequence[str], sections: Sequence[Section]) -> str:
    """Return a report as an HTML document.

    Args:
        title: Title.
        about: Lines below the title.
        sections: The sections; those without parts are left out.
    """
    markup, filled = Markup(PICTURE_BYTES), [section for section in sections if section.parts]
    body = "".join(markup.section(section, number) for number, section in enumerate(filled))
    links = "".join(f'<a href="#s{number}">{escaped(each.title)}</a>' for number, each in enumerate(filled))
    lines = "".join(f'<p class="soft">{escaped(line)}</p>' for line in about)
    if markup.left_out:
        lines += f'<p class="soft">{counted(markup.left_out, "picture")} left out, so that the page stays small.</p>'
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escaped(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f'<header><h1>{escaped(title)}</h1>{lines}<nav aria-label="Sections">{links}</nav></header>\n'
        f"<main>\n{body}</main>\n<footer>fit {escaped(__version__)}</footer>\n</body>\n</html>\n"
    )


def check_page(option: str, path: Path | None, others: Sequence[Path]) -> None:
    """Check that a page can be written, and would replace none of the files that are read or written.

    Raises:
        FitError: It has another suffix than that of HTML, or cannot be written.
    """
    if path is None:
        return
    if path.suffix.lower() not in SUFFIXES or path.is_dir():
        raise FitError(f"{option} {path}: is no name of a page; name it {' or '.join(SUFFIXES)}")
    check_output_file(option, path)
    check_not_replaced(option, [path], others)


def write_page(option: str, path: Path, text: str) -> None:
    """Write a page whole or not at all; a link at its path is followed.

    Args:
        option: Name of the option that gave the path, for the message.
        path: The file.
        text: The page.

    Raises:
        FitError: It cannot be written.
    """
    try:
        write_text(followed(path), text)
    except OSError as error:
        raise FitError(f"{option} {path}: cannot be written: {'; '.join(reason_and_advice(error))}") from None


def fragment(caption: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *others: Part) -> str:
    """Return a table, and further parts without pictures, as HTML for a notebook."""
    return f"<div>{Markup(0).parts([DataTable(caption, columns, rows), *others])}</div>"
