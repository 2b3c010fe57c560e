"""`fit view`: what it prints, how it ends, and what it refuses before a server runs."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from support.pictures import save
from support.polygons import collection, feature, square, write
from typer.testing import Result

import fitcli
from fitcli.commands.view import open_browser

Fit = Callable[..., Result]

ROOT = Path(fitcli.__file__).parent.parent
PATIENCE = 300


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return save(tmp_path / "image.tif", np.full((200, 300, 3), 90, np.uint8))


@contextmanager
def viewing(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "fitcli", "view", *map(str, arguments), "--no-browser"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/", env=environment
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_it_prints_the_address_and_ends_with_ctrl_c(image: Path) -> None:
    with viewing(image) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{22}/", url)
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            assert b"fit view" in answer.read()
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert rest == ""
    assert "Traceback" not in errors


def test_a_port_in_use_is_one_line(fit: Fit, image: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = fit("view", image, "--port", port, "--no-browser")
    assert result.exit_code == 1
    assert result.stderr == f"error: --port {port}: the port is in use; give another one, or leave --port out\n"
    assert result.stdout == ""


def test_what_does_not_fit_ends_before_the_server(fit: Fit, image: Path, tmp_path: Path) -> None:
    other = save(tmp_path / "other.png", np.zeros((50, 50, 3), np.uint8))
    shapes = write(tmp_path / "a.geojson", collection(feature(square(9000, 9000, 4), "x")))
    (tmp_path / "broken.geojson").write_text("{")
    (tmp_path / "text.tif").write_text("text")
    for layer in (other, shapes, tmp_path / "broken.geojson", tmp_path / "absent.tif", tmp_path / "text.tif"):
        result = fit("view", image, layer, "--no-browser")
        assert result.exit_code == 1, layer
        assert result.stderr.startswith(f"error: {layer}: "), result.stderr
        assert result.stderr.count("\n") == 1


def test_options_choose_what_is_read(fit: Fit, image: Path) -> None:
    result = fit("view", image, "--level", "9", "--no-browser")
    assert result.exit_code == 1
    assert "has no level 9" in result.stderr
    assert fit("view", image, "--port", "70000").exit_code == 2
    assert fit("view").exit_code == 2


def test_without_a_display_no_browser_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr("webbrowser.open", lambda url: pytest.fail("opened"))
    assert not open_browser("http://127.0.0.1:1/")
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr("webbrowser.open", lambda url: url.endswith("1/"))
    assert open_browser("http://127.0.0.1:1/")


def test_looking_does_not_import_torch(image: Path) -> None:
    code = (
        "import sys; from fitcli.view.answers import Answers; from fitcli.view.scene import ViewScene\n"
        f"from fitcli.tasks.classify.color_scale import EVIDENCE\n"
        f"from pathlib import Path; Answers(ViewScene([Path({str(image)!r})])).get('tile/0/9/0_0')\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
