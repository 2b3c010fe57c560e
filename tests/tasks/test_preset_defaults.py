"""Defaults of every preset of every task: they follow their rules, reach the run, and yield to what a user gives."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from support.command_line import Fit

from fitcli.runs.task_options import USUAL_PRESET
from fitcli.tasks.registry import TASKS, task_options, train_settings
from fitcli.training.checkpointing.run_record import SETTINGS, load_settings, save_settings
from models.presets import DECODERS, DENOISERS, PRESETS

MODELS = dict.fromkeys(("classify", "segment", "detect"), PRESETS) | {
    "diffusion": DENOISERS,
    "autoregressive": DECODERS,
}
ENCODERS = ("classify", "segment", "detect")
"""Tasks whose models do not generate."""

CASES = [(task, preset) for task in TASKS for preset in MODELS[task]]
GIVEN: dict[str, Any] = {"learning_rate": 0.25, "warmup": 0.25, "ema": 0.25, "augment": None, "drop_path": 0.25}


def values(task: str, preset: str, **given: Any) -> dict[str, Any]:
    """Return the settings of a run that vary with task and preset."""
    stored = train_settings(task, preset=preset, **given).as_dict()
    return {name: stored[name] for name in GIVEN if name in stored}


@pytest.mark.parametrize(("task", "preset"), CASES)
def test_a_run_has_the_defaults_of_its_preset_but_for_what_is_given(task: str, preset: str) -> None:
    row = asdict(task_options()[task].presets[preset])
    usual = values(task, preset)
    assert usual == {name: row[name] for name in usual}
    for name in usual:
        other = (not usual[name]) if name == "augment" else GIVEN[name]
        assert values(task, preset, **{name: other}) == usual | {name: other}
        assert name not in train_settings(task, preset=preset, **{name: other}).from_preset
    assert set(train_settings(task, preset=preset).from_preset) == set(usual)


@pytest.mark.parametrize(("task", "preset"), CASES)
def test_the_learning_rate_is_inversely_proportional_to_the_width(task: str, preset: str) -> None:
    """From `tiny` on, rounded down to one digit; narrower models have its rate. Classifiers have at most 3e-4 there."""
    models, rate = MODELS[task], values(task, preset)["learning_rate"]
    exact = 1e-3 * models[USUAL_PRESET].latent_width / models[preset].latent_width
    digit = 10 ** math.floor(math.log10(exact))
    narrow = preset in ("debug", "nano", "mini")
    most = 3e-4 if task == "classify" and not narrow else 1e-3
    assert rate == pytest.approx(min(most, math.floor(exact / digit + 1e-9) * digit))


@pytest.mark.parametrize("task", TASKS)
def test_only_large_models_are_regularised_more_than_before(task: str) -> None:
    earlier = task_options()[task].earlier
    for preset in MODELS[task]:
        row = task_options()[task].presets[preset]
        if preset in ("debug", "nano", "mini", "tiny") and task != "classify":
            assert row == earlier, "small presets keep their values"
        assert row.drop_path == ({"base": 0.1, "large": 0.2}.get(preset, 0) if task in ENCODERS else 0)
        assert row.ema == (0 if task in ("segment", "detect") and preset not in ("base", "large") else 0.9999)


@pytest.mark.parametrize(("task", "preset"), CASES)
def test_a_run_of_an_earlier_version_has_the_defaults_of_that_version(tmp_path: Path, task: str, preset: str) -> None:
    """It stored null for the average and augmentation of the task, and no names."""
    save_settings(tmp_path, train_settings(task, preset=preset))
    path = tmp_path / SETTINGS
    new = json.loads(path.read_text())
    assert set(new["from_preset"]) == set(values(task, preset))
    old = {name: value for name, value in new.items() if name not in ("from_preset", "drop_path")}
    path.write_text(json.dumps(old | {"learning_rate": 1e-3, "ema": None, "augment": None, "drop_path": 0.0}))
    loaded = load_settings(tmp_path)
    earlier = asdict(task_options()[task].earlier)
    assert {name: loaded.as_dict()[name] for name in values(task, preset)} == {
        name: earlier[name] for name in values(task, preset)
    }
    assert (loaded.from_preset, loaded.defaults_text()) == ((), "")


def test_a_recipe_wins_over_the_preset_and_the_command_line_over_the_recipe(
    fit: Fit, dataset: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('preset = "debug"\nsteps = 1\nsize = 32\nlearning-rate = 0.5\nwarmup = 0.25\nema = 0.5\n')
    result = fit("train", dataset, "--out", tmp_path / "run", "--recipe", recipe, "--ema", "0.75", "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    assert "\ndefaults of preset debug: --augment, --drop-path 0\n" in result.stderr
    stored = json.loads((tmp_path / "run" / SETTINGS).read_text())
    assert [stored[name] for name in ("learning_rate", "warmup", "ema")] == [0.5, 0.25, 0.75]
    assert stored["from_preset"] == ["augment", "drop_path"]


def test_the_documentation_has_the_table() -> None:
    page = (Path(__file__).parents[2] / "docs/training.md").read_text()
    for preset in PRESETS:
        classifier, generator = (task_options()[task].presets[preset] for task in ("classify", "diffusion"))
        assert task_options()["autoregressive"].presets[preset] == generator
        segmenter = task_options()["segment"].presets[preset]
        assert (segmenter.learning_rate, segmenter.warmup) == (generator.learning_rate, generator.warmup)
        assert (segmenter.drop_path, segmenter.warmup) == (classifier.drop_path, classifier.warmup)
        cells = [classifier.learning_rate, generator.learning_rate, classifier.warmup, classifier.drop_path]
        cells += [classifier.ema, segmenter.ema, generator.ema]
        assert f"| `{preset}` | {' | '.join(f'{cell:g}' for cell in cells)} |" in page
