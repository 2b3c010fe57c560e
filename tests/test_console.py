"""Results go to stdout and messages to stderr, and neither can control a terminal."""

from __future__ import annotations

import json

import pytest

from fitcli import console

NASTY = "a\x1b]0;title\x07\x1b[31mb\x9bc\rd\n\n  e\u2028f\u202egnp.tif"
SHOWN = r"a\x1b]0;title\x07\x1b[31mb\x9bc\rd\n\n  e\u2028f\u202egnp.tif"


@pytest.mark.parametrize("say", [console.error, console.warning, console.log, console.data])
def test_no_message_can_control_the_terminal(say, capsys: pytest.CaptureFixture[str]):
    say(f"{NASTY}: is no image")
    captured = capsys.readouterr()
    shown = captured.out + captured.err
    assert f"{SHOWN}: is no image" in shown
    assert shown.endswith("\n")
    assert shown[:-1].isprintable(), "one line, so that no name can forge a second message"


def test_a_table_cannot_control_the_terminal(capsys: pytest.CaptureFixture[str]):
    console.table(("image", "size"), [(NASTY, ["two", "lines"]), ("name", "of\ntwo")])
    shown = capsys.readouterr().out
    assert SHOWN in shown
    assert "\x1b" not in shown
    assert [line.split()[-1] for line in shown.splitlines()[1:]] == ["two", "lines", r"of\ntwo"]


def test_progress_is_silent_without_a_terminal(capsys: pytest.CaptureFixture[str]):
    with console.progress("[/x] :smile:") as advance:
        advance(0.5)
    with console.status("[/x] :smile:") as show:
        show(0.5, "text")
        show(0.5, None)
    with console.live() as region:
        assert region is None
    console.hint("text")
    assert capsys.readouterr() == ("", "")


def test_captured_messages_are_printed_when_they_are_repeated(capsys: pytest.CaptureFixture[str]):
    before = console.error_count()
    with console.captured() as messages:
        console.error("one")
        console.warning("two")
        console.log("three")
    assert capsys.readouterr() == ("", "")
    assert console.error_count() == before
    console.repeat(json.loads(json.dumps(messages)))
    assert capsys.readouterr() == ("", "error: one\nwarning: two\nthree\n")
    assert console.error_count() == before + 1


def test_a_muted_process_prints_nothing(capsys: pytest.CaptureFixture[str]):
    with console.muted():
        console.error("one")
        console.data("two")
        console.json({})
    assert capsys.readouterr() == ("", "")
    console.data("three")
    assert capsys.readouterr() == ("three\n", "")


@pytest.mark.parametrize("name", ["FORCE_COLOR", "TTY_COMPATIBLE"])
def test_colors_in_a_log_bring_no_live_display(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Continuous integration sets these variables for logs, where movements of the cursor are noise."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv(name, "1")
    with console.progress("working") as advance:
        advance(0.5)
    with console.status("working") as show:
        show(0.5, "words")
    with console.live() as region:
        assert region is None
    console.hint("for a person")
    assert capsys.readouterr() == ("", "")
    console.error("red")
    console.table(["path"], [["x" * 300]])
    output, messages = capsys.readouterr()
    assert "\x1b[1;31merror:" in messages
    assert "x" * 300 in output
