"""Names of files cannot speak to a terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from fitcli import console
from fitcli.errors import ImageError, plain

NASTY = "a\x1b]0;title\x07\x1b[31mb\x9bc\rd\u2028e\u202egnp.tif"
SHOWN = r"a\x1b]0;title\x07\x1b[31mb\x9bc\rd\u2028e\u202egnp.tif"


@pytest.mark.parametrize("text", ["", "scan 1.tif", "Größe µm", "鳥.png", "👩‍🔬.tif", "1\u00a0000.tif", "[red]a[/red]"])
def test_letters_signs_and_spaces_stay(text: str):
    assert plain(text) == text


def test_what_moves_the_cursor_ends_a_line_or_turns_it_around_is_shown():
    assert plain(NASTY + "\n\udcff") == SHOWN + r"\n\udcff"


@pytest.mark.parametrize("say", [console.error, console.warning, console.log, console.data])
def test_nothing_that_is_said_speaks_to_the_terminal(say, capsys: pytest.CaptureFixture[str]):
    say(f"{NASTY}: is no image")
    captured = capsys.readouterr()
    said = captured.out + captured.err
    assert r"a\x1b]0;title\x07\x1b[31mb\x9bc" in said
    assert r"\u202egnp.tif: is no image" in said
    assert all(c == "\n" or c.isprintable() for c in said)


def test_neither_do_tables(capsys: pytest.CaptureFixture[str]):
    console.table(("image", "size"), [(NASTY, ["two", "lines"]), ("name", "of\ntwo")])
    shown = capsys.readouterr().out
    assert SHOWN in shown
    assert "\x1b" not in shown
    assert [line.split()[-1] for line in shown.splitlines()[1:]] == ["two", "lines", r"of\ntwo"]


def test_an_error_about_an_image_is_one_line():
    error = ImageError(Path("new\nline\x1b[2J.tif"), "is no image")
    assert str(error) == r"new\nline\x1b[2J.tif: is no image"
    assert error.path == Path("new\nline\x1b[2J.tif")
