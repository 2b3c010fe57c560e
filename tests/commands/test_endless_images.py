"""Images that claim more pixels than there can be: one line at once, and the other images are done."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support.pictures import colored, endless_image, save
from typer.testing import Result

from fitcli.errors import ImageError
from fitcli.images.open import open_image
from fitcli.tasks.scored_windows import scored_parts

Fit = Callable[..., Result]

# At the first of these sides a list of the groups is too long, at the second only what is computed of them.
SIDES = [2**40, 2**21]


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return save(tmp_path / "good.png", colored((70, 90), (40, 60, 200), 3))


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("options", [[], ["--memory", "1G"], ["--heatmap", "maps"], ["--state", "state"]], ids=str)
def test_classify(
    fit: Fit, trained: Path, good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: int, options: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    endless = endless_image(tmp_path / "endless.zarr", side)
    result = fit("classify", endless, good, "--checkpoint", trained, "--device", "cpu", "--json", *options)
    assert result.exit_code == 1, result.stderr
    assert [one["path"] for one in json.loads(result.stdout)] == [str(good)]
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert f"{endless}: " in errors[0]
    assert "memory" in errors[0]


def test_leaving_out_the_background(fit: Fit, trained: Path, tmp_path: Path) -> None:
    endless = endless_image(tmp_path / "endless.zarr", SIDES[0])
    result = fit("classify", endless, "--checkpoint", trained, "--device", "cpu", "--skip-background")
    assert result.exit_code == 1
    (error,) = (line for line in result.stderr.splitlines() if "becomes red, green and blue" not in line)
    assert error.startswith(f"error: {endless}: its ")


@pytest.mark.parametrize("side", SIDES)
def test_embed(fit: Fit, trained: Path, good: Path, tmp_path: Path, side: int) -> None:
    endless = endless_image(tmp_path / "endless.zarr", side)
    out = tmp_path / "out"
    result = fit("embed", endless, good, "--checkpoint", trained, "--device", "cpu", "--out", out)
    assert result.exit_code == 1
    (error,) = (line for line in result.stderr.splitlines() if "becomes red, green and blue" not in line)
    assert error.startswith(f"error: {endless}: ")
    assert [path.name for path in out.iterdir()] == ["good.zarr"]


def test_info(fit: Fit, tmp_path: Path) -> None:
    """It is what the file says of itself, and nothing has to be read."""
    result = fit("info", endless_image(tmp_path / "endless.zarr"), "--json")
    assert result.exit_code == 0, result.stderr
    (found,) = json.loads(result.stdout)
    assert (found["width"], found["height"]) == (2**40, 2**40)


def test_evaluate(fit: Fit, trained: Path, tmp_path: Path) -> None:
    for label in ("blue", "red"):
        for number in range(2):
            save(tmp_path / "data" / label / f"{number}.png", colored((70, 90), (40, 60, 200), 3))
    endless = endless_image(tmp_path / "data/red/2.zarr")
    result = fit("evaluate", tmp_path / "data", "--checkpoint", trained, "--device", "cpu", "--split", "all", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["images"] == 4
    assert f"error: {endless}: " in result.stderr


def test_train(fit: Fit, tmp_path: Path) -> None:
    for label in ("blue", "red"):
        for number in range(2):
            save(tmp_path / "data" / label / f"{number}.png", colored((70, 90), (40, 60, 200), 3))
    endless_image(tmp_path / "data/red/2.zarr")
    options = ["--preset", "debug", "--steps", "2", "--device", "cpu"]
    result = fit("train", tmp_path / "data", "--out", tmp_path / "run", *options)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("side", SIDES)
def test_windows_of_a_generator_are_counted_before_one_is_scored(tmp_path: Path, side: int) -> None:
    with (
        open_image(endless_image(tmp_path / "endless.zarr", side)) as image,
        pytest.raises(ImageError, match="windows of 64 x 64; at most 1,048,576 are scored"),
    ):
        next(scored_parts(image, (64, 64)))
    good = save(tmp_path / "good.png", colored((70, 90), (40, 60, 200), 3))
    with open_image(good) as image:
        sizes = [part.info.size for part in scored_parts(image, (64, 64))]
    assert sizes == [(64, 64), (64, 26), (6, 64), (6, 26)]
