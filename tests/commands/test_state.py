"""`--state`: a killed job goes on where it was, and gives the same to the bit."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr
from support.command_line import Fit
from support.interrupted import interrupt
from support.pictures import save
from typer.testing import Result

from fitcli.memory.handfuls import TOKENS

KILLED = """
import os, signal, sys, torch
torch.set_num_threads(1)
from fitcli.streaming import journal
from fitcli.app import app
from fitcli.streaming import journal
from fitcli.memory.handfuls import TOKENS
from fitcli.streaming.journal import FolderJournal
TOKENS["pass", "cpu"] = 512
journal.SAVE_SECONDS = 0
reached, calls = journal.FolderJournal.record, []
def killed(self, *arguments):
    calls.append(1)
    if len(calls) == {moment}:
        os.kill(os.getpid(), signal.SIGKILL)
    if len(calls) % 2:
        reached(self, *arguments)
journal.FolderJournal.record = killed
app(sys.argv[1:])
"""
"""Is killed when so many handfuls are done, of which every other was remembered."""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 groups: two at a time, 6 handfuls per sweep."""
    pixels = np.random.default_rng(3).integers(0, 256, (700, 1000, 3)).astype(np.uint8)
    return save(tmp_path_factory.mktemp("images") / "noise.tif", pixels)


@pytest.fixture(autouse=True)
def _two_groups_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TOKENS, ("pass", "cpu"), 512)


def kill(moment: int, *arguments: object) -> None:
    """Run `fit` and have it killed."""
    command = [sys.executable, "-c", KILLED.format(moment=moment), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr


def predictions(result: Result) -> object:
    """What is printed, without names of outputs and what time and machine have a part in."""
    assert result.exit_code == 0, result.stderr
    (document,) = json.loads(result.stdout)
    others = ("seconds", "peak_bytes", "memory", "heatmaps")
    return {name: value for name, value in document.items() if name not in others}


def test_classify(fit: Fit, trained: Path, image: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    arguments = (
        "classify",
        image,
        "--checkpoint",
        trained,
        "--json",
        "--device",
        "cpu",
        "--precision",
        "fp32",
        "--heatmap",
    )
    expected = predictions(fit(*arguments, tmp_path / "expected.png"))
    kill(10, *arguments, tmp_path / "heatmap.png", "--state", state)
    (left,) = state.iterdir()
    assert {path.name for path in left.iterdir()} == {"job.json", "position.pt", "even", "reads", "lock"}
    assert not (tmp_path / "heatmap.png").exists()
    for other, message in (
        (("--skip-background",), "was begun with background threshold None, not 0.02; "),
        (("--precision", "bf16"), "was begun with precision fp32, not bf16; "),
    ):
        refused = fit(*arguments, tmp_path / "heatmap.png", "--state", state, *other)
        assert refused.exit_code == 1
        assert message in refused.stderr
    result = fit(*arguments, tmp_path / "heatmap.png", "--state", state)
    assert predictions(result) == expected
    assert json.loads(result.stdout)[0]["memory"]["store"] == "disk"
    assert (tmp_path / "heatmap.png").read_bytes() == (tmp_path / "expected.png").read_bytes()
    assert not state.exists()


@pytest.mark.walk(1)
@pytest.mark.parametrize("lost", [False, True], ids=["output kept", "output lost"])
def test_embed(
    fit: Fit, trained: Path, image: Path, tmp_path: Path, lost: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, out = tmp_path / "state", tmp_path / "out.zarr"
    arguments = ("embed", image, "--checkpoint", trained, "--patches", "--device", "cpu")
    if lost:
        interrupt(11, fit, monkeypatch, *arguments, "--out", out, "--state", state)
    else:
        kill(11, *arguments, "--out", out, "--state", state)
    (partial,) = tmp_path.glob(".fit-*-*")
    if lost:
        shutil.rmtree(partial)
    result = fit(*arguments, "--out", out, "--state", state)
    assert result.exit_code == 0, result.stderr
    assert fit(*arguments, "--out", tmp_path / "expected.zarr").exit_code == 0
    ours, theirs = (zarr.open_group(path, mode="r") for path in (out, tmp_path / "expected.zarr"))
    for name in ("latents", "patches", "windows"):
        np.testing.assert_array_equal(ours[name][...], theirs[name][...])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["expected.zarr", "out.zarr"]


def test_a_state_that_was_never_interrupted_leaves_nothing(
    fit: Fit, trained: Path, image: Path, tmp_path: Path
) -> None:
    result = fit("classify", image, "--checkpoint", trained, "--state", tmp_path / "state")
    assert result.exit_code == 0, result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_changed_image_is_refused(
    fit: Fit, trained: Path, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, copy = tmp_path / "state", tmp_path / "copy.tif"
    shutil.copy(image, copy)
    interrupt(3, fit, monkeypatch, "classify", copy, "--checkpoint", trained, "--state", state)
    copy.touch()
    result = fit("classify", copy, "--checkpoint", trained, "--state", state)
    assert result.exit_code == 1
    assert "was begun with image time" in result.stderr
    assert "remove the folder" in result.stderr
    (folder,) = state.iterdir()
    (folder / "job.json").write_text("{")
    assert "damaged" in fit("classify", copy, "--checkpoint", trained, "--state", state).stderr
