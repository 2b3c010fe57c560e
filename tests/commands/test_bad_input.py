"""What is wrong with a data set or a recipe is said in one line, before training; tables of cases for `fit train`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.command_line import Fit
from support.pictures import colored, save
from support.slides import TRIDENT, places, random_features, write_h5

IMAGES = 12

SMALL = ("--preset", "debug", "--steps", "1", "--batch-size", "2", "--device", "cpu", "--memory", "1GiB")

Cell = Callable[[int], object]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for number in range(IMAGES):
        save(folder / f"{number}.png", colored((24, 24), (200, 60, 40), number))
    return folder


def listing(folder: Path, heading: str, *cells: Cell) -> Path:
    lines = [",".join([f"{n}.png", *(str(cell(n)) for cell in cells)]) for n in range(IMAGES)]
    path = folder / "data.csv"
    path.write_text("\n".join([f"path,{heading}", *lines]) + "\n")
    return path


def once(odd: object, others: Cell = lambda n: n) -> Cell:
    """Return cells of which that of image 5, in line 7, is another."""
    return lambda n: odd if n == 5 else others(n)


def classes(n: int) -> str:
    return "ab"[n % 2]


def event(n: int) -> int:
    return n % 2


SURVIVAL = "time:os,event:os"

TABLES: dict[str, tuple[str, tuple[Cell, ...], tuple[str, ...], str]] = {
    "a word for a value": ("value:age", (once("old"),), (), "line 7: value:age 'old' is no number"),
    "no number": ("value:age", (once("nan"),), (), "line 7: value:age 'nan' is no number"),
    "infinite": ("value:age", (once("inf"),), (), "line 7: value:age 'inf' is no number"),
    "too large": ("value:age", (once("1e400"),), (), "line 7: value:age '1e400' is too large"),
    "one value": ("value:age", (lambda n: 3,), (), "needs different values"),
    "a time below zero": (SURVIVAL, (once(-1), event), (), "line 7: time:os '-1' is below zero"),
    "a time that is no number": (SURVIVAL, (once("nan"), event), (), "line 7: time:os 'nan' is no number"),
    "an event of 2": (SURVIVAL, (lambda n: n, once(2, event)), (), "line 7: event:os '2' is neither 0"),
    "an event in words": (SURVIVAL, (lambda n: n, once("dead", event)), (), "line 7: event:os 'dead' is no number"),
    "an event without a time": (SURVIVAL, (once(""), event), (), "line 7: has event:os, but time:os is empty"),
    "no event": (SURVIVAL, (lambda n: n, lambda n: 0), (), "no training image has an event (1)"),
    "an order of words": ("order:grade", (once("x", event),), (), "class 'x' has one image"),
    "a fold that is no number": ("label,fold", (classes, once("x", event)), ("--fold", "1"), "is 'x', no whole number"),
    "no such fold": ("label,fold", (classes, event), ("--fold", "9"), "has no fold 9 in its column fold"),
    "a fold without a class": (
        "label,fold", (lambda n: "aab"[n // 4], lambda n: n // 4), ("--fold", "2"), "no training image of class 'b'",
    ),
    "a rare class in folds": (
        "label", (lambda n: "b" if n > 9 else "a",), ("--folds", "5", "--fold", "1"), "class 'b' has 2 images for 5",
    ),
    "nothing of a class to train on": (
        "label,split", (lambda n: "ab"[n // 6], lambda n: ("val", "train")[n // 6]), (), "no training image of class",
    ),
}  # fmt: skip
"""Headings, cells of the columns, options, and what the error says."""


def refusal(fit: Fit, data: Path, *options: object) -> str:
    """Train, and return the only line that is printed."""
    run = data.parent / "run"
    result = fit("train", data, "--out", run, *SMALL, *options)
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit), "no traceback"
    (line,) = result.stderr.splitlines()
    assert not run.exists()
    return line.removeprefix("error: ")


@pytest.mark.parametrize("name", TABLES)
def test_tables(fit: Fit, folder: Path, name: str) -> None:
    heading, cells, options, message = TABLES[name]
    assert message in refusal(fit, listing(folder, heading, *cells), *options)


CROSS_VALIDATED: dict[str, tuple[str, tuple[Cell, ...], tuple[str, ...], str]] = {
    "too many folds": ("label", (classes,), ("50",), "has 12 images for 50 folds"),
    "a rare class": ("label", (lambda n: "b" if n > 9 else "a",), ("5",), "class 'b' has 2 images for 5 folds"),
    "another number of folds": ("label,fold", (classes, event), ("5",), "has 2 folds in its column fold"),
    "a class that the last fold holds out": (
        "label,fold", (lambda n: "aab"[n // 4], lambda n: n // 4), ("3",),
        "no training image of class 'b'; add some; fold 2 holds out all",
    ),
    "a value that is no number": ("value:age", (once("old"),), ("3",), "line 7: value:age 'old' is no number"),
    "a plan that is none": ("label", (classes,), ("3", "--plan", "x"), "--preset debug --plan x: layer plan does not"),
    "no such loss": ("label", (classes,), ("3", "--loss", "x"), "--loss x: no such loss; there is cross-entropy"),
    "no start": ("label", (classes,), ("3", "--start-from", "x"), "--start-from x: no run folder"),
    "no scale": ("label", (classes,), ("3", "--mpp", "0.5"), "does not say its microns per pixel"),
    "no memory": ("label", (classes,), ("3", "--memory", "1MiB"), "--memory: 1 MiB are too little"),
}  # fmt: skip


@pytest.mark.parametrize("name", CROSS_VALIDATED)
def test_a_cross_validation_is_checked_before_its_first_line(fit: Fit, folder: Path, name: str) -> None:
    heading, cells, options, message = CROSS_VALIDATED[name]
    assert message in refusal(fit, listing(folder, heading, *cells), "--cross-validate", *options)


RECIPES = {
    'plan = "(1)2("': "--preset debug --plan (1)2(: layer plan",
    'plan = "(1)1(1)"': "must end with global layers",
    'plan = "(1)999(1)1"': "--preset debug --plan (1)999(1)1: a model of 1002 layers is impossible",
    "patch = 3": "--preset debug --patch 3: a convolutional stem halves a patch twice",
    "patch = 4096": "--preset debug --patch 4096: groups of 32768 pixels per side are impossible",
    'latents = "many"': "latents = 'many'",
    "latents = 1.5": "latents = 1.5",
    "latents = true": "latents must be one number or text",
    "latents = 100000": "--latents must be at least 1 and at most 65536",
    "nonsense = 1": "[model] has no nonsense",
    'stem = "x"': "--preset debug --stem x: stem must be one of",
    "output_head = 3": "--output-head 3: no such output head",
    "plan = {}": "plan must be one number or text, not {}",
    "plan": "is no TOML",
}


@pytest.mark.parametrize("line", RECIPES)
def test_recipes_of_models(fit: Fit, folder: Path, line: str) -> None:
    recipe = folder / "model.toml"
    recipe.write_text(f"[model]\n{line}\n")
    message = refusal(fit, listing(folder, "label", classes), "--recipe", recipe)
    assert message.startswith(f"--recipe {recipe}: ")
    assert RECIPES[line] in message


def _two_sizes(path: Path) -> None:
    coordinates = np.concatenate([places(6, 6), places(6, 6, top=20, left=20, side=1024)])
    write_h5(path, random_features(len(coordinates)), coordinates, None)


def _overlapping(path: Path) -> None:
    write_h5(path, random_features(36), places(6, 6, side=128))


def _of_something_else(path: Path) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        file["x"] = np.zeros(3)


def _cut_off(path: Path) -> None:
    write_h5(path, random_features(36), places(6, 6))
    path.write_bytes(path.read_bytes()[:200])


def _text(path: Path) -> None:
    path.write_text("no features\n")


def _fine(path: Path) -> None:
    write_h5(path, random_features(36), places(6, 6, side=256), TRIDENT | {"patch_size_level0": 256})


def _no_size(path: Path) -> None:
    write_h5(path, random_features(36), places(6, 6), TRIDENT | {"patch_size_level0": 0})


FEATURES: dict[Callable[[Path], None], str] = {
    _two_sizes: "has patches at distances of 512 and of 1024 pixels, as of two patch sizes",
    _overlapping: "has patches of 512 pixels at distances of 128, so they overlap or come from two patch sizes",
    _fine: "has features of patches of 256 pixels (64 microns), ",
    _no_size: "states patch_size_level0 0 with coords, which is not a number above 0",
    _of_something_else: "is an HDF5 file without the datasets features and coords (it holds 'x')",
    _cut_off: "cannot be read as HDF5",
    _text: "is no HDF5 file, although its name says so",
}


@pytest.mark.parametrize("write", FEATURES, ids=lambda write: write.__name__)
def test_files_of_features(fit: Fit, tmp_path: Path, write: Callable[[Path], None]) -> None:
    pytest.importorskip("h5py")
    for number in range(3):
        write_h5(tmp_path / f"{number}.h5", random_features(36), places(6, 6))
    write(tmp_path / "3.h5")
    rows = "".join(f"{number}.h5,{classes(number)}\n" for number in range(4))
    (tmp_path / "data.csv").write_text(f"path,label\n{rows}")
    assert f"3.h5: {FEATURES[write]}" in refusal(fit, tmp_path / "data.csv")


def test_a_patient_with_two_labels(fit: Fit, folder: Path) -> None:
    data, run = listing(folder, "label,patient", classes, lambda n: f"p{n // 2}"), folder / "trained"
    assert fit("train", data, "--out", run, *SMALL).exit_code == 0, "images of a patient may differ"
    result = fit("evaluate", data, "--checkpoint", run, "--split", "all", "--per", "patient", "--device", "cpu")
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert "has images of class 'a' and of class 'b', and a score by patient needs one" in line


def test_classes_without_an_image_to_validate_on_give_a_warning(fit: Fit, folder: Path) -> None:
    split = listing(folder, "label,split", lambda n: "ab"[n // 6], lambda n: "val" if n < 4 else "train")
    result = fit("train", split, "--out", folder / "half", *SMALL)
    assert result.exit_code == 0, result.stderr
    assert result.stderr.splitlines()[0] == f"warning: {split}: no image to validate on of class b"
