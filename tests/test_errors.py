"""Errors are one line, and no text in them can control a terminal."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from fitcli.errors import CheckpointError, DataError, DeviceError, FitError, ImageError, plain

NASTY = "a\x1b]0;title\x07\x1b[31mb\x9bc\rd\u2028e\u202egnp.tif"
SHOWN = r"a\x1b]0;title\x07\x1b[31mb\x9bc\rd\u2028e\u202egnp.tif"


@pytest.mark.parametrize("text", ["", "scan 1.tif", "Größe µm", "鳥.png", "👩‍🔬.tif", "1\u00a0000.tif", "[red]a[/red]"])
def test_letters_signs_and_spaces_stay(text: str):
    assert plain(text) == text


def test_what_moves_the_cursor_ends_a_line_or_turns_it_around_is_shown():
    assert plain(NASTY + "\n\udcff") == SHOWN + r"\n\udcff"


def test_an_error_about_an_image_is_one_line():
    error = ImageError(Path("new\nline\x1b[2J.tif"), "is no image")
    assert str(error) == r"new\nline\x1b[2J.tif: is no image"
    assert error.path == Path("new\nline\x1b[2J.tif")
    assert error.reason == "is no image"


def test_an_error_about_an_image_survives_pickling():
    copy = pickle.loads(pickle.dumps(ImageError("a.tif", "is no image")))
    assert (str(copy), copy.path, copy.reason) == ("a.tif: is no image", Path("a.tif"), "is no image")


@pytest.mark.parametrize("kind", [ImageError, DataError, CheckpointError, DeviceError])
def test_every_error_of_the_user_is_a_fit_error(kind: type[FitError]):
    assert issubclass(kind, FitError)
    assert not kind.shared
