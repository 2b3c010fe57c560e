"""A resumed run is refused if its record or config was changed, or written by another version of fit."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from support.small_runs import quietly, run_of, two_classes

from fitcli import __version__
from fitcli.errors import CheckpointError, FitError
from fitcli.runs.option import declared_options
from fitcli.runs.train_settings import TrainSettings
from fitcli.tasks.registry import DEFAULT_TASK, task_options, train_settings
from fitcli.training.checkpointing.run_record import SETTINGS, load_settings, save_settings
from fitcli.training.loop import train


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return two_classes(tmp_path / "data", (24, 16))


@pytest.fixture
def begun(data: Path, tmp_path: Path) -> Path:
    """A run of four steps, one epoch."""
    train(run_of(data, tmp_path / "run", epochs=1), quietly)
    return tmp_path / "run"


def assert_refused(data: Path, run: Path, match: str, **settings: Any) -> None:
    """Assert that resuming fails with one line, and changes nothing."""
    before = sorted(run.rglob("*"))
    with pytest.raises(FitError, match=match) as caught:
        run_of(data, run, resume=True, **settings)
    assert "\n" not in str(caught.value)
    assert sorted(run.rglob("*")) == before


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def test_an_edited_config_is_refused_by_name(data: Path, begun: Path) -> None:
    original = (begun / "config.json").read_text()
    rewrite(begun / "config.json", lambda document: document["model"].update(latents=3, pool_heads=2))
    message = r"config\.json: was changed .* \(model.latents is 3, was 2, model.pool_heads is 2, was 1\); "
    message += r"put it back as it is in .*training/config\.json, or start a new run$"
    assert_refused(data, begun, message)
    (begun / "config.json").write_text(original)
    rewrite(begun / "config.json", lambda document: document["preprocessing"].update(mean=[1, 2, 3]))
    assert_refused(data, begun, r"preprocessing\.mean is \[1, 2, 3\], was ")
    (begun / "config.json").write_text(original)
    rewrite(begun / "config.json", lambda document: document["preprocessing"].update(read_level=1, limits=None))
    assert_refused(data, begun, r"preprocessing\.limits is null, was \[.*read_level is 1, was absent")
    # Without a copy to compare it with, the tensors of the state do not fit.
    rewrite(begun / "config.json", lambda document: document["model"].update(token_width=128))
    (begun / "training/config.json").unlink()
    with pytest.raises(CheckpointError, match=r"damaged \(Error.*size mismatch for "):
        train(run_of(data, begun, resume=True), quietly, resume=True)


def test_files_of_a_newer_fit_are_refused_with_both_versions(data: Path, begun: Path) -> None:
    versions = rf"fit 9\.1.*, this is fit {__version__}"
    settings, config = (begun / name for name in ("training/settings.json", "config.json"))
    rewrite(settings, lambda document: document.update(fit="9.1", moon=1))
    assert_refused(data, begun, rf"settings\.json: was written by {versions} \(.*'moon'\); install fit 9\.1")
    rewrite(settings, lambda document: document.pop("moon"))
    run_of(data, begun, resume=True)
    config.write_text(config.read_text().replace('"format": 1', '"format": 2').replace(__version__, "9.1"))
    assert_refused(data, begun, rf"config\.json: written by {versions} \(format 1\); install fit 9\.1")
    (begun / "training/state.pt").touch()
    assert_refused(
        data, begun, "begun with an older fit, whose saved states are not readable any more; start a new run"
    )


FIELDS = [
    (task, name)
    for task, options in task_options().items()
    for name in (each.name for each in (*fields(TrainSettings), *fields(options)) if each.name != "options")
    if task == DEFAULT_TASK or name in {each.name for each in fields(options)}
]
"""Every key of settings.json: the shared ones once, those of each task with that task."""

HUGE = 10**200

WRONG: list[Any] = [
    -1e300, 1e300, -HUGE, HUGE, 10**9 + 1, -1, 2.5, "x", "", True, [], {}, [1], None, math.nan, math.inf,
]  # fmt: skip


def possible(options: type, name: str, value: Any) -> bool:
    """Whether the declared type and limits allow a value, worked out again."""
    if name == "from_preset":
        return value == []
    if name == "augment" and isinstance(value, str):
        return False  # no text of `WRONG` is a list of kinds
    kinds = get_type_hints(options)[name]
    option = declared_options(options)[name].option if name in declared_options(options) else None
    if get_origin(kinds) is Literal:
        return value in get_args(kinds)
    allowed = get_args(kinds) or (kinds,)
    if any(get_origin(kind) is Literal for kind in allowed):
        return value is None
    if value is None and option is not None and option.varies:
        return True
    if value is None or isinstance(value, str | bool | list | dict):
        return type(value) in allowed
    if not (float in allowed or (int in allowed and isinstance(value, int))) or abs(value) == HUGE:
        return False
    if not math.isfinite(value):
        return False
    assert option is not None
    return not (
        (option.minimum is not None and value < option.minimum)
        or (option.maximum is not None and value > option.maximum)
        or (option.above is not None and value <= option.above)
        or (option.below is not None and value >= option.below)
    )


@pytest.mark.walk(26)
@pytest.mark.parametrize(("task", "name"), FIELDS)
def test_impossible_settings_name_the_file_and_the_key(tmp_path: Path, task: str, name: str) -> None:
    """As on the command line; the file may have been edited."""
    save_settings(tmp_path, train_settings(task))
    path = tmp_path / SETTINGS
    stored, refused = json.loads(path.read_text()), 0
    options = task_options()[task]
    owner = options if name in {each.name for each in fields(options)} else TrainSettings
    for value in WRONG:
        path.write_text(json.dumps({**stored, name: value}))
        if name == "task" or not possible(owner, name, value):
            refused += 1
            with pytest.raises(CheckpointError) as caught:
                load_settings(tmp_path)
            message = str(caught.value)
            assert message.startswith((f"{path}: {name} must be ", f"{path}: {name} has ")), (value, message)
            assert len(message) < len(str(path)) + 200, message
        elif name not in ("background_threshold", "from_preset"):
            # Null stands for the default, as an option that was not given.
            loaded = load_settings(tmp_path).as_dict()
            assert loaded.get(name, value) == (stored[name] if value is None else value)
    assert refused >= 3


def test_runs_of_earlier_versions_keep_choosing_by_accuracy(tmp_path: Path) -> None:
    save_settings(tmp_path, train_settings("classify"))
    assert load_settings(tmp_path).as_dict()["best_by"] == "loss"
    rewrite(tmp_path / SETTINGS, lambda stored: stored.pop("best_by"))
    assert load_settings(tmp_path).as_dict()["best_by"] == "accuracy"


def test_runs_of_earlier_versions_keep_their_folds(tmp_path: Path) -> None:
    save_settings(tmp_path, train_settings("segment", folds=3, fold=1))
    assert load_settings(tmp_path).folds_by == "contents"
    rewrite(tmp_path / SETTINGS, lambda stored: stored.pop("folds_by"))
    assert load_settings(tmp_path).folds_by == "names"


def test_every_number_of_things_has_a_limit() -> None:
    for options in (TrainSettings, *task_options().values()):
        for name, declared in declared_options(options).items():
            if int in (declared.type, *get_args(declared.type)):
                assert declared.option.minimum is not None, name
                assert declared.option.maximum is not None, name
