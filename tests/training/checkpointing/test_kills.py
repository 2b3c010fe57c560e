"""Training processes that are killed at random moments: the resumed run is the same to the bit."""

from __future__ import annotations

import random
import signal
from pathlib import Path
from typing import Any

import pytest
from support.killed import finish, start, train_with_kills, wait
from support.pictures import colored, save
from support.runs import assert_same_run
from support.small_runs import data_of

from fitcli.training.checkpointing.saved_states import saved_steps

TASKS: dict[str, list[object]] = {
    "classify": ["--task", "classify", "--ema", 0.9],
    "diffusion": ["--task", "diffusion", "--precision", "bf16", "--accumulate", 2],
    "autoregressive": ["--task", "autoregressive", "--accumulate", 2, "--batch-size", 1],
    "segment": ["--task", "segment", "--accumulate", 2, "--class-weights", "root", "--ema", 0.9],
    "detect": ["--task", "detect", "--accumulate", 2, "--ema", 0.9],
}
"""Three steps per epoch, or six."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of eight images of 24 x 16 pixels: twelve to train on, four to validate."""
    folder = tmp_path_factory.mktemp("data")
    for label, color in (("dark", (60, 80, 70)), ("light", (90, 70, 100))):
        for number in range(8):
            save(folder / label / f"{number}.png", colored((24, 16), color, number))
    return folder


def arguments(data: Path, run: Path, task: str, steps: int, *more: object) -> list[object]:
    common = ["train", data_of(task, data), "--out", run, "--preset", "debug", "--steps", steps, "--batch-size", 2]
    return [*common, "--device", "cpu", *TASKS[task], *more]


@pytest.mark.more
def test_three_kills(data: Path, tmp_path: Path) -> None:
    """The first kill comes before the run exists, or just after."""
    options: list[Any] = ["classify", 12, "--save-every", 1]
    whole, run, output = tmp_path / "whole", tmp_path / "killed", tmp_path / "output"
    finish(arguments(data, whole, *options), output)
    done = train_with_kills(arguments(data, run, *options), run, output, 12, kills=3, moments=random.Random(8))
    assert len(done) == 3
    assert_same_run(run, whole)


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("seed", range(2))
def test_many_kills(data: Path, tmp_path: Path, task: str, seed: int) -> None:
    """8 kills in each of 8 runs."""
    options: list[Any] = [task, 60, *(["--save-every", 1] if seed else [])]
    whole, run, output = tmp_path / "whole", tmp_path / "killed", tmp_path / "output"
    finish(arguments(data, whole, *options), output)
    done = train_with_kills(arguments(data, run, *options), run, output, 60, kills=8, moments=random.Random(seed))
    print(f"{task}: killed at steps {done} of 60; all bits equal")
    assert len(done) == 8
    assert_same_run(run, whole)


@pytest.mark.slow
@pytest.mark.parametrize("call", range(1, 62, 4))
def test_killed_while_saving(data: Path, tmp_path: Path, call: int) -> None:
    """The process is killed at every fourth system call of a save."""
    whole, run, output = tmp_path / "whole", tmp_path / "killed", tmp_path / "output"
    finish(arguments(data, whole, "classify", 12), output)
    assert wait(start(arguments(data, run, "classify", 12), output, killed_at=call)) == -signal.SIGKILL
    assert saved_steps(run), "there is a state"
    assert "damaged" not in finish(arguments(data, run, "classify", 12, "--resume"), output)
    assert_same_run(run, whole)
    assert not list(run.rglob(".fit-*"))
