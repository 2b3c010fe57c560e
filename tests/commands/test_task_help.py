"""The help of a command with options of several tasks: it shows those of one task."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from typer.testing import Result

from fitcli.commands.task_help import OTHER_NAMES, named_task, switches_or_texts, with_texts
from fitcli.runs.option import declared_options, flag
from fitcli.runs.train_settings import TrainSettings
from fitcli.tasks.registry import DEFAULT_TASK, TASKS, task_options

Fit = Callable[..., Result]
SCREEN, SCREENS = 40, 3


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], DEFAULT_TASK),
        (["--help"], DEFAULT_TASK),
        (["--task", "segment", "--help"], "segment"),
        (["--help", "--task", "diffusion"], "diffusion"),
        (["data", "--task=autoregressive", "--help"], "autoregressive"),
        (["--task", "paint", "--help"], DEFAULT_TASK),
        (["--help", "--task"], DEFAULT_TASK),
        (["--task=", "--help"], DEFAULT_TASK),
    ],
)
def test_the_task_that_arguments_name(arguments: list[str], expected: str) -> None:
    assert named_task(arguments) == expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("data --out run", "data --out run"),
        ("data --augment flips,blur --out run", "data --augment flips,blur --out run"),
        ("data --augment=flips --out run", "data --augment=flips --out run"),
        ("data --no-augment --out run", "data --augment=none --out run"),
        ("data --augment --out run", "data --augment=default --out run"),
        ("data --out run --augment", "data --out run --augment=default"),
        ("--no-balance -- --no-augment", "--no-balance -- --no-augment"),
    ],
)
def test_options_that_stand_alone_get_a_text(arguments: str, expected: str) -> None:
    assert switches_or_texts() == ["--augment"]
    assert with_texts(arguments.split(), switches_or_texts()) == expected.split()


@pytest.mark.parametrize("task", TASKS)
def test_help_shows_the_options_of_one_task_on_three_screens(
    fit: Fit, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = fit("train", "--task", task, "--help").stdout
    assert len(shown.splitlines()) <= SCREENS * SCREEN
    words = set(shown.split())
    own = declared_options(task_options()[task])
    foreign = {name for options in task_options().values() for name in declared_options(options)} - set(own)
    assert {flag(name) for name in (*declared_options(TrainSettings), *own)} <= words
    assert not {flag(name) for name in foreign} & words


def test_help_changes_nothing_for_later_calls(fit: Fit) -> None:
    before = fit("train", "--help").stdout
    assert fit("train", "--task", "diffusion", "--help").stdout != before
    assert fit("train", "--help").stdout == before
    refused = fit("train", "data", "--out", "run", "--schedule", "cosine")
    assert "--schedule is for --task diffusion" in refused.stderr, "a hidden option is still read"


@pytest.mark.walk(3)
@pytest.mark.parametrize(("other", "meant"), OTHER_NAMES.items())
def test_the_name_of_an_option_elsewhere_leads_to_ours(fit: Fit, other: str, meant: str) -> None:
    done = fit("train", "data", "--out", "run", other, "1")
    assert done.exit_code == 2
    assert f"No such option: {other}" in done.stderr
    assert meant in done.stderr
    assert meant in fit("train", "--help").stdout
