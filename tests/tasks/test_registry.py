"""The list of tasks: every task has its options without torch, and everything else on demand."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

from fitcli.errors import FitError
from fitcli.runs.option import declared_options, merged_options
from fitcli.runs.task_options import TaskOptions
from fitcli.runs.train_settings import TrainSettings
from fitcli.tasks.classify.options import ClassifyOptions
from fitcli.tasks.diffusion.options import DiffusionOptions
from fitcli.tasks.registry import (
    DEFAULT_TASK,
    TASKS,
    check_task,
    find_image_sampler,
    find_task,
    generate_options,
    refuse_options,
    sampling_options,
    task_options,
    train_settings,
)
from fitcli.tasks.task import Task


@pytest.mark.parametrize("name", TASKS)
def test_a_task_is_found_by_its_name(name: str) -> None:
    task = find_task(name)
    assert isinstance(task, Task)
    assert (task.name, task.details.task) == (name, name)
    assert find_task(name) is task
    task.check(train_settings(name))


def test_every_task_has_options_that_share_no_name_with_the_common_settings() -> None:
    assert tuple(task_options()) == TASKS
    common = {field.name for field in dataclasses.fields(TrainSettings)}
    for options in task_options().values():
        assert issubclass(options, TaskOptions)
        names = {field.name for field in dataclasses.fields(options)}
        # Settings are stored side by side.
        assert not names & common
        assert names - declared_options(options).keys() <= {"best_by"}, "a rule of old runs is no option"
        assert options.next_command.startswith("fit ")
    merged_options(task_options())  # raises if tasks declare an option differently


def test_a_task_that_generates_has_a_sampler_and_options_of_its_pixels() -> None:
    assert tuple(sampling_options()) == tuple(generate_options())
    for name in TASKS:
        assert (find_image_sampler(name) is not None) == (name in sampling_options())
    for name, options in sampling_options().items():
        own = {field.name for field in dataclasses.fields(options)}
        assert own < {field.name for field in dataclasses.fields(generate_options()[name])}
    merged_options(sampling_options())  # raises if tasks declare an option differently


def test_options_import_no_torch() -> None:
    code = "import sys; from fitcli.tasks.registry import task_options; task_options(); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_an_unknown_task_is_refused() -> None:
    message = f"--task must be {', '.join(TASKS)}, not 'paint'"
    for refused in (check_task, find_task, train_settings):
        with pytest.raises(FitError) as caught:
            refused("paint")
        assert str(caught.value) == message


def test_settings_are_the_common_ones_and_those_of_the_task() -> None:
    settings = train_settings("diffusion", epochs=7, scale=0.5)
    assert (settings.task, settings.epochs, settings.options) == ("diffusion", 7, DiffusionOptions(scale=0.5))
    assert train_settings() == TrainSettings(task=DEFAULT_TASK, options=ClassifyOptions())
    assert train_settings(**settings.as_dict()) == settings
    assert (settings.as_dict()["epochs"], settings.as_dict()["scale"]) == (7, 0.5)


def test_options_of_other_tasks_are_left_out_of_settings_and_refused_if_given() -> None:
    assert train_settings("classify", scale=0.5) == train_settings("classify")
    refuse_options("classify", {"epochs", "balance", "label_smoothing"})
    with pytest.raises(FitError, match=r"^--scale is for --task diffusion, not for classify; leave it out$"):
        refuse_options("classify", {"epochs", "scale"})
    with pytest.raises(FitError, match="--label-smoothing is for --task classify or autoregressive, not for diffusion"):
        refuse_options("diffusion", {"label_smoothing"})


def test_unknown_and_impossible_settings_are_refused() -> None:
    with pytest.raises(TypeError, match="moon"):
        train_settings(moon=1)
    with pytest.raises(FitError, match="--epochs must be at least 1 and at most 1000000000, not 0"):
        train_settings(epochs=0)
    with pytest.raises(FitError, match="--scale must be a number, not 'x'"):
        train_settings("diffusion", scale="x")
    with pytest.raises(FitError, match="--background-threshold is for --skip-background"):
        train_settings(background_threshold=0.1)
