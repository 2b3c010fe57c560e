"""Settings of a run: impossible values are refused by name; a resumed run keeps its own."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from fitcli.errors import FitError
from fitcli.runs.option import declared_options
from fitcli.runs.train_settings import TrainSettings
from fitcli.tasks.registry import task_options, train_settings


@pytest.mark.parametrize(
    ("settings", "option"),
    [({"learning_rate": 0.0}, "--learning-rate"), ({"learning_rate": math.nan}, "--learning-rate"),
     ({"learning_rate": math.inf}, "--learning-rate"), ({"label_smoothing": 1.0}, "--label-smoothing"),
     ({"batch_size": 0}, "--batch-size"), ({"steps": 0}, "--steps"), ({"weight_decay": math.nan}, "--weight-decay"),
     ({"clip": -1.0}, "--clip")],
)  # fmt: skip
def test_impossible_settings_are_refused_by_name(settings: dict[str, float], option: str) -> None:
    with pytest.raises(FitError, match=option):
        train_settings(**settings)


@pytest.mark.parametrize("warmup", [-0.1, 1.0])
def test_the_warmup_is_a_fraction(warmup: float) -> None:
    with pytest.raises(FitError, match=r"^--warmup must be at least 0 and below 1"):
        train_settings(warmup=warmup)


@pytest.mark.parametrize("images", [1, 5, 12, 100])
@pytest.mark.parametrize(("batch_size", "accumulate"), [(1, 1), (4, 1), (2, 3)])
def test_the_steps_of_all_epochs_see_every_image_so_often(images: int, batch_size: int, accumulate: int) -> None:
    """Counted one image at a time: a step ends an epoch if it sees the last image of it."""
    settings = train_settings(batch_size=batch_size, accumulate=accumulate, epochs=3)
    total = settings.total_steps(images)
    per_step = batch_size * accumulate
    assert (total - 1) * per_step < 3 * images <= total * per_step
    seen = 0
    for step in range(total):
        last = any((number + 1) % images == 0 for number in range(seen, seen + per_step))
        assert settings.ends_epoch(step, images) == last
        seen += per_step
    assert train_settings(steps=7, epochs=3).total_steps(images) == 7


@pytest.mark.parametrize("task", task_options())
def test_settings_come_back_from_plain_data(task: str) -> None:
    settings = train_settings(task, batch_size=3, ema=0.5, size=64)
    values = settings.as_dict()
    assert {name: type(value) for name, value in values.items() if not isinstance(value, str | int | float)} == {
        "from_preset": list,
        **{name: type(None) for name, value in values.items() if value is None},
    }
    assert TrainSettings.from_dict(values, task_options()[task]) == settings
    with pytest.raises(TypeError, match="moon"):
        TrainSettings.from_dict({**values, "moon": 1}, task_options()[task])


def test_a_resumed_run_changes_what_it_may_and_only_what_was_given() -> None:
    before = train_settings(seed=3, epochs=2, steps=9, keep=2)
    new = train_settings(seed=5, epochs=4, keep=7, max_bad_images=6)
    assert before.resumed(new, given=()) == before
    assert before.resumed(new, given={"keep"}).keep == 7
    assert before.resumed(new, given={"keep"}).max_bad_images == 0
    with pytest.raises(FitError, match=r"^--seed: the run was begun with seed = 3, not 5; resume without this option"):
        before.resumed(new, given={"keep", "seed"})
    assert before.resumed(train_settings(seed=3), given={"seed"}) == before, "the same value is no change"


def test_no_message_about_an_option_prints_none() -> None:
    """Every option that may be left out, begun without it and resumed with it, and the other way round."""
    optional = {name for name, value in train_settings().as_dict().items() if value is None}
    changeable = {name for name, each in declared_options(TrainSettings).items() if each.option.changeable}
    assert {"level", "mpp", "size"} <= optional - changeable
    for name in optional - changeable:
        plain, chosen = train_settings(), SimpleNamespace(as_dict=lambda name=name: {name: 2})
        with pytest.raises(FitError, match=f"was begun without it, not with {name} = 2; resume") as caught:
            plain.resumed(chosen, given={name})  # type: ignore[arg-type]
        assert "None" not in str(caught.value)
    with pytest.raises(FitError, match="--level: the run was begun with level = 1, not without it; "):
        train_settings(level=1).resumed(train_settings(), given={"level"})


def test_new_epochs_replace_steps() -> None:
    before = train_settings(steps=9)
    longer = before.resumed(train_settings(epochs=5), given={"epochs"})
    assert (longer.epochs, longer.steps, longer.total_steps(8)) == (5, None, 10)
    assert before.resumed(train_settings(steps=12), given={"steps"}).total_steps(8) == 12


def test_what_was_not_given_comes_from_the_preset_and_is_named() -> None:
    given = train_settings(preset="base", ema=0.5)
    assert given.from_preset == ("learning_rate", "warmup", "augment", "drop_path")
    assert given.defaults_text() == (
        "defaults of preset base: --learning-rate 0.0003, --warmup 0.1, --augment, --drop-path 0.1"
    )
    values = {"learning_rate": 0.5, "warmup": 0.0, "ema": 0.0, "augment": False, "drop_path": 0.0}
    assert (train_settings(**values).from_preset, train_settings(**values).defaults_text()) == ((), "")


def test_a_resumed_run_keeps_the_defaults_that_it_began_with() -> None:
    before = train_settings(preset="base", learning_rate=0.25)
    longer = before.resumed(train_settings(preset="large", epochs=5), given={"epochs"})
    assert (longer.learning_rate, longer.ema, longer.options, longer.from_preset) == (
        0.25, before.ema, before.options, before.from_preset
    )  # fmt: skip
    with pytest.raises(FitError, match=r"^--ema: the run was begun with ema = 0.9999, not 0.5"):
        before.resumed(train_settings(ema=0.5), given={"ema"})


@pytest.mark.parametrize("names", [("seed",), ("moon",), "ema", None])
def test_only_options_that_depend_on_the_preset_come_from_it(names: object) -> None:
    with pytest.raises(FitError, match=r"^from_preset must be names of options that depend on the preset, not "):
        train_settings(from_preset=names)
