"""`fit train --recipe`: what a file says, and what the command line says against it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.command_line import Fit
from support.halves import data_of_halves

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))


def recipe(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


def settings(run: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((run / "training" / "settings.json").read_text())
    return found


def test_numbers_where_a_size_with_a_unit_may_stand(fit: Fit, dataset: Path, tmp_path: Path) -> None:
    chosen = recipe(tmp_path, 'preset = "debug"\nsteps = 1\nsize = 32\nmemory = 2_000_000_000\n')
    result = fit("train", dataset, "--recipe", chosen, "--out", tmp_path / "run", "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    assert json.loads((tmp_path / "run/training/plan.json").read_text())


def test_the_command_line_wins(fit: Fit, dataset: Path, tmp_path: Path) -> None:
    text = 'preset = "debug"\nsteps = 1\nlearning-rate = 0.5\nclip = 3\nskip_background = true\naugment = false\n'
    chosen = recipe(tmp_path, text)
    result = fit("train", dataset, "--recipe", chosen, "--out", tmp_path / "run", "--clip", "2", "--size", "64")
    assert result.exit_code == 0, result.stderr
    found = settings(tmp_path / "run")
    assert (found["preset"], found["steps"], found["learning_rate"], found["clip"]) == ("debug", 1, 0.5, 2.0)
    assert (found["skip_background"], found["background_threshold"]) == (True, 0.02)
    assert (found["augment"], found["size"]) == (False, 64)
    # What a model was trained with is part of what it expects.
    assert json.loads((tmp_path / "run/config.json").read_text())["preprocessing"]["background"] == 0.02

    again = fit("train", dataset, "--recipe", chosen, "--out", tmp_path / "run", "--resume", "--clip", "2")
    assert again.exit_code == 0, again.stderr
    other = fit("train", dataset, "--recipe", chosen, "--out", tmp_path / "run", "--resume")
    assert (other.exit_code, "--clip: the run was begun with clip = 2.0, not 3.0" in other.stderr) == (1, True)


@pytest.mark.walk(9)
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs = 3\nepoch = 3\nlr = 1", "no such options of `fit train` in a recipe: epoch, lr"),
        ('out = "x"', "no such options of `fit train` in a recipe: out"),
        ("max-minutes = 5", "no such options of `fit train` in a recipe: max-minutes"),
        ("[train]\nepochs = 3", "no such options of `fit train` in a recipe: train"),
        ("augment = 1", "augment must be true, false or a text, not 1"),
        ('augment = "blurr"', "augment = 'blurr': has no 'blurr'; it takes a list of flips, "),
        ("skip-background = 1", "skip-background must be true or false, not 1"),
        ("epochs = true", "epochs must be one number or text, not True"),
        ("epochs = [1, 2]", "epochs must be one number or text, not [1, 2]"),
        ("batch_size = 2\nbatch-size = 3", "batch-size is there twice"),
        ("epochs 3", "is no TOML"),
        ('balance = true\ntask = "diffusion"', "--balance is for --task classify"),
        ('preset = "huge"', "--preset huge: no such preset"),
        ("batch-size = -3", "batch-size = -3: "),
        ("size = 64.5", "size = 64.5: "),
        ('memory = "lots"', "memory = 'lots': is no size"),
        ('prediction = "z"', "prediction = 'z': "),
        ("drop-path = 1.5", "--drop-path must be at least 0 and below 1, not 1.5"),
        ("patch = 7", "--preset tiny --patch 7: "),
        ('task = "diffusion"\nschedule = "steep"', "--schedule steep: unknown schedule"),
        ('task = "diffusion"\nscale = 0', "--scale 0.0: scale must be positive"),
        ('preset = "debug"\nmemory = "1MiB"', "--memory: 1 MiB are too little"),
        ('device = "abacus"', "--device abacus: unknown"),
        ("group-parallel = 2", "--group-parallel 2: does not divide"),
        ('start-from = "nowhere"', "--start-from nowhere: no run folder"),
    ],
)
def test_a_recipe_that_is_wrong(fit: Fit, dataset: Path, tmp_path: Path, text: str, message: str) -> None:
    chosen = recipe(tmp_path, text)
    result = fit("train", dataset, "--recipe", chosen, "--out", tmp_path / "run")
    assert result.exit_code == 1
    assert f"error: --recipe {chosen}: {message}" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert fit("train", dataset, "--recipe", tmp_path / "none.toml", "--out", tmp_path / "run").exit_code == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [("true", True), ("false", False), ('"none"', False), ('"flips,blur"', "flips,blur=1")],
)
def test_an_option_that_is_a_switch_or_a_text(
    fit: Fit, dataset: Path, tmp_path: Path, text: str, expected: object
) -> None:
    chosen = recipe(tmp_path, f'preset = "debug"\nsteps = 1\nsize = 32\naugment = {text}\n')
    result = fit("train", dataset, "--recipe", chosen, "--out", tmp_path / "run", "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    assert settings(tmp_path / "run")["augment"] == expected


def test_what_is_not_the_fault_of_a_recipe(fit: Fit, dataset: Path, tmp_path: Path) -> None:
    chosen = recipe(tmp_path, 'preset = "debug"\ndrop-path = 0.1\nbalance = true\n')
    out = ("--recipe", chosen, "--out", tmp_path / "run")
    given = fit("train", dataset, *out, "--drop-path", "2")
    assert (given.exit_code, given.stderr) == (1, "error: --drop-path must be at least 0 and below 1, not 2.0\n")
    absent = fit("train", tmp_path / "absent", *out)
    assert (absent.exit_code, "recipe" in absent.stderr.replace(str(tmp_path), "")) == (1, False)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_our_own_recipes_can_be_followed(fit: Fit, dataset: Path, tmp_path: Path, path: Path) -> None:
    data = data_of_halves(tmp_path / "halves") if 'task = "segment"' in path.read_text() else dataset
    result = fit("train", data, "--recipe", path, "--out", tmp_path / "run", "--steps", "1", "--size", "64")
    assert result.exit_code == 0, result.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = " + "[" * 100_000 + "]" * 100_000, "is no TOML (its values are nested too deeply)"),
        ("a = " + "{b = " * 5000 + "1" + "}" * 5000, "is no TOML (its values are nested too deeply)"),
        ("steps = " + "9" * 5000, "is no TOML ("),
        ("steps = 0x" + "9" * 5000, "steps = this int: "),
        ("augment = 0x" + "9" * 5000, "augment must be true, false or a text, not this int"),
        ("".join(f"name{number} = 1\n" for number in range(50_000)), "name10, name100, name1000, name10000, "),
        ("x" * 10_000 + " = 1", f"in a recipe: {'x' * 80}; see"),
        ("preset = [" + "1, " * 100_000 + "]", "preset must be one number or text, not [1, 1, "),
        ("# " + "x" * 2_000_000, "is no recipe: it has more than 1048576 bytes"),
    ],
    ids=["arrays", "tables", "decimal", "hexadecimal", "switch", "names", "name", "long", "large"],
)
def test_a_file_made_to_confuse_is_one_short_line(
    fit: Fit, dataset: Path, tmp_path: Path, text: str, message: str
) -> None:
    path = recipe(tmp_path, text)
    result = fit("train", dataset, "--recipe", path, "--out", tmp_path / "run")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: --recipe {path}: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert len(result.stderr) < 1000 + len(str(path))


MODEL = """
steps = 1
preset = "debug"
[model]
plan = "(1)2(1)1"
latents = 3
token-width = 32
latent_width = 48
head = 16
group = 4
patch = 8
stem = "linear"
"""


def test_a_table_of_the_model(fit: Fit, dataset: Path, tmp_path: Path) -> None:
    chosen, run = recipe(tmp_path, MODEL), tmp_path / "run"
    result = fit("train", dataset, "--recipe", chosen, "--out", run, "--latents", "5", "--size", "64")
    assert result.exit_code == 0, result.stderr
    model = json.loads((run / "config.json").read_text())["model"]
    expected = {
        "plan": "(1)2(1)1", "latents": 5, "token_width": 32, "latent_width": 48, "token_heads": 2, "latent_heads": 3,
        "tokens": 16, "patch": 8, "stem": "linear",
    }  # fmt: skip
    assert {name: model[name] for name in expected} == expected
    again = fit("train", dataset, "--recipe", chosen, "--out", run, "--resume", "--steps", "2", "--latents", "5")
    assert again.exit_code == 0, again.stderr
    other = fit("train", dataset, "--out", run, "--resume", "--plan", "(1)1")
    assert (other.exit_code, "--plan: the run was begun with plan = (1)2(1)1" in other.stderr) == (1, True)
    started = fit("train", dataset, "--preset", "debug", "--out", tmp_path / "b", "--start-from", run, "--steps", "1")
    assert "is of another architecture" in started.stderr
    image = next(dataset.glob("*/*"))
    assert fit("classify", image, "--checkpoint", run).exit_code == 0


def test_a_start_of_attention_beside_weights_of_another_run(fit: Fit, dataset: Path, tmp_path: Path) -> None:
    first = ("--preset", "debug", "--steps", "1", "--attention-start", "reference")
    assert fit("train", dataset, "--out", tmp_path / "a", *first).exit_code == 0
    assert "attention_start" in fit("info", tmp_path / "a").stdout
    assert json.loads(fit("info", tmp_path / "a", "--json").stdout)[0]["attention_start"] == "reference"
    chosen = recipe(tmp_path, '[model]\nattention_start = "unit"')
    started = ("train", dataset, "--out", tmp_path / "b", *first[:4], "--start-from", tmp_path / "a")
    for options in (("--attention-start", "unit"), ("--recipe", chosen)):
        done = fit(*started, *options)
        assert done.exit_code == 1
        (line,) = done.stderr.splitlines()
        assert f"--attention-start unit: the weights of attention are those of --start-from {tmp_path / 'a'}" in line
        assert not (tmp_path / "b").exists()
    assert fit(*started, "--attention-start", "reference").exit_code == 0


def test_the_output_head_of_a_denoiser(fit: Fit, dataset: Path, tmp_path: Path) -> None:
    chosen, run = recipe(tmp_path, 'preset = "debug"\n[model]\noutput-head = "overlap"'), tmp_path / "run"
    options = ["--recipe", chosen, "--size", "48", "--steps", "1"]
    other = fit("train", dataset, *options, "--out", tmp_path / "other")
    assert "--output-head overlap: no such output head; there is attention" in other.stderr
    result = fit("train", dataset, *options, "--out", run, "--task", "diffusion")
    assert result.exit_code == 0, result.stderr
    assert json.loads((run / "config.json").read_text())["model"]["output_patch"] == 4
    drawn = ["--out", tmp_path / "new.png", "--res", "40", "--steps", "2", "--shift-grid"]
    assert fit("generate", "--checkpoint", run, *drawn).exit_code == 0
    again = fit("train", dataset, "--out", run, "--resume", "--output-head", "linear")
    assert (again.exit_code, "--output-head: the run was begun with" in again.stderr) == (1, True), again.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[model]\nlayers = 3", "[model] has no layers; it may have plan, latents, group, patch"),
        ("[model]\nepochs = 3", "[model] has no epochs"),
        ("patch = 4\n[model]\npatch = 8", "patch is there twice, in [model] and before it; keep one"),
        ("token_width = 4\n[model]\ntoken-width = 8", "token-width is there twice"),
        ("model = 3", "no such options of `fit train` in a recipe: model"),
        ("[model]\nlatents = 0", "latents = 0: "),
        ("[model]\nlatents = [3]", "latents must be one number or text"),
        ('[model]\nplan = "2-4"', "--plan 2-4: layer plan does not have the form"),
        ('[model]\nstem = "deep"', "stem"),
        ("[model]\nhead = 48", "token_width 64 is no multiple of a head (48)"),
    ],
)
def test_tables_that_describe_no_model(fit: Fit, dataset: Path, tmp_path: Path, text: str, message: str) -> None:
    chosen = recipe(tmp_path, f'preset = "debug"\n{text}' if "epochs" not in text else text)
    result = fit("train", dataset, "--recipe", chosen, "--out", tmp_path / "run")
    assert (result.exit_code, message in result.stderr) == (1, True), result.stderr
    assert not (tmp_path / "run").exists()
