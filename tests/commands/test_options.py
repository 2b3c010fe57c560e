"""Values of options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from support.pictures import save
from typer.testing import Result

from fitcli.commands.options import parse_size, reading_choice
from fitcli.device import runtime
from fitcli.errors import DeviceError, FitError
from fitcli.images.read_as import ReadAs

Fit = Callable[..., Result]

MIB, GIB = 2**20, 2**30


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4GiB", 4 * GIB), ("500MB", 500_000_000), ("2G", 2 * GIB), ("1.5 GiB", 3 * GIB // 2), ("1000000", 10**6),
        ("2000000B", 2 * 10**6), ("3000kib", 3000 * 1024), ("1T", 2**40), (" 7m ", 7 * MIB), ("2gb", 2 * 10**9),
    ],
)  # fmt: skip
def test_sizes_in_bytes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "-1G", "4 GiB free", "1e9", "0", "0.2B", "8", "999kB", "4PiB", "nan"])
def test_texts_that_are_no_sizes(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_size(text)


def test_what_is_read_of_an_image() -> None:
    assert reading_choice(None, None) is None, "as in training"
    assert reading_choice(0, None) == ReadAs(level=0)
    assert reading_choice(None, 0.5) == ReadAs(mpp=0.5)
    with pytest.raises(FitError, match="give one of them"):
        reading_choice(1, 0.5)


@pytest.mark.parametrize(
    "command",
    [
        ("classify", "IMAGE", "--checkpoint", "run"), ("embed", "IMAGE", "--checkpoint", "run", "--out", "out"),
        ("segment", "IMAGE", "--checkpoint", "run", "--out", "map.tif"), ("detect", "IMAGE", "--checkpoint", "run"),
        ("evaluate", "data", "--checkpoint", "run"),
        ("generate", "--checkpoint", "run", "--out", "out.png"),
        ("train", "data", "--out", "run"),
    ],
    ids=lambda command: command[0],
)  # fmt: skip
def test_every_memory_limit_is_a_bound_of_the_device(
    fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    """The device gets the limit before anything is loaded; only training computes gradients."""
    asked: list[dict[str, Any]] = []

    def stop(device: str, precision: str, **settings: Any) -> None:
        asked.append(settings)
        raise DeviceError("stop")

    monkeypatch.setattr(runtime, "choose_runtime", stop)
    image = save(tmp_path / "image.png", np.zeros((8, 8, 3), np.uint8))
    result = fit(*(image if each == "IMAGE" else each for each in command), "--memory", "3GiB", "--device", "cpu")
    assert result.stderr == "error: stop\n"
    assert asked[0]["memory_bytes"] == 3 << 30
    assert asked[0].get("inference", False) == (command[0] != "train")
    # Scores, the maps that are scored, and generated images stay exact on a CPU.
    assert asked[0].get("float32_on_cpu", False) == (command[0] in ("segment", "detect", "evaluate", "generate"))
