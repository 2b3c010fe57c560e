"""The options of a pass are declared once; its opening and its results are the same for all commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command

from fitcli.app import app
from fitcli.commands.image_pass import PassOptions, ScoringOptions, finish
from fitcli.errors import FitError
from fitcli.images.read_as import ReadAs

SHARED = (
    "--mpp", "--level", "--skip-background", "--background-threshold", "--memory", "--device", "--compile",
    "--timeout", "--group-parallel",
)  # fmt: skip


def parameters(command: str) -> dict[str, Any]:
    group: Any = get_command(app)
    return {each.opts[0]: each for each in group.commands[command].params}


@pytest.mark.parametrize("command", ["classify", "segment", "embed", "evaluate"])
def test_commands_over_images_have_the_same_options(command: str) -> None:
    own, reference = parameters(command), parameters("classify")
    assert [own[name].help for name in SHARED] == [reference[name].help for name in SHARED]
    assert ("--state" in own) == (command != "evaluate")


def test_options_become_settings() -> None:
    assert ScoringOptions().settings().background == "as trained"
    settings = PassOptions(level=1, skip_background=True, memory=10**6).settings(Path("state"))
    assert (settings.read_as, settings.memory_bytes, settings.state) == (ReadAs(level=1), 10**6, Path("state"))
    assert settings.background == PassOptions().background_threshold
    assert PassOptions(skip_background=False).settings().background is None


def test_impossible_options_are_refused_before_processes_connect() -> None:
    with pytest.raises(FitError, match="give one of them"):
        PassOptions(level=1, mpp=0.5).connect()
    with pytest.raises(FitError, match="--state keeps the unfinished work of one process"):
        PassOptions(state=Path("state"), group_parallel=2).connect()


def show(results: list[Any], as_json: bool) -> None:
    finish(results, as_json, ("image", "size"), lambda result: (result["path"], "3 x 4"))


def test_results_are_a_table_or_a_document(capsys: pytest.CaptureFixture[str]) -> None:
    show([{"path": "a.tif"}], False)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in (lines[0], lines[-1])] == ["image", "a.tif"]
    show([{"path": "a.tif"}], True)
    assert json.loads(capsys.readouterr().out) == [{"path": "a.tif"}]


@pytest.mark.parametrize("left", [[], [{"path": "a.tif"}]])
def test_an_image_without_a_result_sets_the_exit_code(left: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as caught:
        show([*left, None], False)
    assert caught.value.exit_code == 1
    assert ("a.tif" in capsys.readouterr().out) == bool(left)
