"""`fit train --task diffusion|autoregressive`: from files to a run folder, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
from support.pictures import colored, save
from typer.testing import Result

from fitcli.demo.dataset import demo_files

Fit = Callable[..., Result]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corner of the first images of the demo, of every class and format."""
    folder = tmp_path_factory.mktemp("scenes")
    from fitcli.images.window import Window

    for file in demo_files()[1:13]:
        save(folder / file.name, file.scene.render(Window(0, 0, 96, 80)))
    return folder


def quick(data: Path, run: Path, task: str, *more: object) -> list[object]:
    return ["train", data, "--out", run, "--task", task, "--preset", "debug", "--steps", "2", "--device", "cpu", *more]


def refused(result: Result, code: int, *words: str) -> None:
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    for word in words:
        assert word in result.stderr
    if code == 1:
        assert result.stderr.startswith("error: ")
        assert result.stderr.count("\n") == 1


@pytest.mark.walk(1)
@pytest.mark.parametrize("task", ["classify", "diffusion", "autoregressive"])
def test_the_demo_trains_with_every_task(fit: Fit, scenes: Path, tmp_path: Path, task: str) -> None:
    run = tmp_path / "run"
    result = fit(*quick(scenes, run, task, "--size", 32, "--seed", 4, "--report"))
    assert result.exit_code == 0, result.stderr
    score = {"classify": "accuracy", "diffusion": "loss", "autoregressive": "bits per dimension"}[task]
    assert result.stdout.startswith(f"{run}: 2 steps, best validation {score} ")
    files = {"config.json", "model.safetensors", "ema.safetensors", "last", "training", "metrics.jsonl", "tensorboard"}
    files |= {"report.html", "curves.png"}
    assert {path.name for path in run.iterdir()} == files
    config = json.loads((run / "config.json").read_text())
    assert config["task"] == task
    assert len(config["classes"]) == 3
    assert fit(*quick(scenes, run, task, "--resume", "--steps", 3)).exit_code == 0
    refused(fit(*quick(scenes, run, "classify" if task != "classify" else "diffusion", "--resume")), 1,
            f"--task: the run was begun with task = {task}")  # fmt: skip


def test_options_reach_the_run(fit: Fit, scenes: Path, tmp_path: Path) -> None:
    options = [
        "--unconditional", "--patch", 2, "--prediction", "eps", "--schedule", "sigmoid@-3,3,0.9", "--shift", "-1.5",
        "--scale", "0.5", "--self-condition-rate", 0, "--class-dropout", 0.2, "--ema", 0.5, "--size", 16,
    ]  # fmt: skip
    run = tmp_path / "run"
    assert fit(*quick(scenes, run, "diffusion", *options)).exit_code == 0
    config = json.loads((run / "config.json").read_text())
    assert config["classes"] == []
    assert not config["model"]["self_condition"]
    assert config["diffusion"] == {
        "patch": 2, "size": [16, 16], "schedule": "sigmoid@-3,3,0.9", "prediction": "eps", "scale": 0.5, "shift": -1.5,
        "clip": True, "self_condition_rate": 0.0, "class_dropout": 0.2,
    }  # fmt: skip
    run = tmp_path / "other"
    options = ["--levels", 8, "--order", "snake", "--start", "zero", "--label-smoothing", 0.1, "--size", 16, "--ema", 0]
    assert fit(*quick(scenes, run, "autoregressive", *options)).exit_code == 0
    config = json.loads((run / "config.json").read_text())
    assert config["sequence"] == {
        "patch": [4, 4], "size": [16, 16], "order": "snake", "levels": 8, "start": "zero"
    }  # fmt: skip
    assert not (run / "ema.safetensors").exists()


def test_a_resumed_run_has_the_options_of_its_own_task(fit: Fit, scenes: Path, tmp_path: Path) -> None:
    """`--task` need not be given again."""
    run = tmp_path / "run"
    assert fit(*quick(scenes, run, "diffusion", "--size", 16, "--schedule", "simple_linear")).exit_code == 0
    again = ["train", scenes, "--out", run, "--device", "cpu", "--resume", "--steps", "3"]
    refused(
        fit(*again, "--schedule", "cosine"),
        1,
        "--schedule: the run was begun with schedule = simple_linear, not cosine",
    )
    refused(fit(*again, "--balance"), 1, "--balance is for --task classify, not for diffusion; leave it out")
    refused(fit(*again, "--task", "classify", "--balance"), 1, "--task: the run was begun with task = diffusion")
    result = fit(*again, "--schedule", "simple_linear", "--prediction", "v")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith(f"{run}: 3 steps")


def test_commands_for_classifiers_refuse_other_runs(fit: Fit, scenes: Path, tmp_path: Path) -> None:
    run, image = tmp_path / "run", save(tmp_path / "image.png", colored((40, 40), (1, 2, 3), 0))
    assert fit(*quick(scenes, run, "diffusion", "--size", 16)).exit_code == 0
    words = f"{run}: was trained with --task diffusion, which is for `fit generate`; give a run of --task classify"
    refused(fit("classify", image, "--checkpoint", run), 1, words)
    refused(fit("embed", image, "--checkpoint", run, "--out", tmp_path / "out.zarr"), 1, words)


def test_what_is_refused(fit: Fit, scenes: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    refused(fit(*quick(scenes, run, "paint")), 2, "--task")
    refused(fit(*quick(scenes, run, "diffusion", "--order", "snake")), 1, "--order is for --task autoregressive")
    refused(fit(*quick(scenes, run, "autoregressive", "--skip-background")), 1, "--skip-background is for --task ")
    refused(
        fit(*quick(scenes, run, "diffusion", "--preset", "huge")),
        1,
        "--preset huge: no such preset; there are debug, nano",
    )
    refused(
        fit(*quick(scenes, run, "diffusion", "--schedule", "straight")), 1, "--schedule straight: unknown schedule: use"
    )
    refused(fit(*quick(scenes, run, "diffusion", "--shift", "nan")), 1, "shift")
    refused(fit(*quick(scenes, run, "diffusion", "--scale", "0")), 1, "scale must be positive")
    refused(fit(*quick(scenes, run, "autoregressive", "--size", "3")), 1, "do not fill one patch of 4 x 4", "--patch")
    empty = tmp_path / "empty"
    empty.mkdir()
    refused(fit(*quick(empty, run, "diffusion")), 1, "no images found; give a folder with images, or a CSV file")
    assert not run.exists()


@pytest.mark.walk(1)
@pytest.mark.parametrize("task", ["classify", "diffusion", "autoregressive"])
def test_every_task_reads_images_at_one_scale(fit: Fit, tmp_path: Path, task: str) -> None:
    for label, scale in product("ab", (0.5, 1.0)):
        save(tmp_path / "data" / label / f"{scale}.tif", colored((round(32 / scale),) * 2, (90, 90, 90), 1), scale)
    run = tmp_path / "run"
    result = fit(*quick(tmp_path / "data", run, task, "--mpp", 1.0))
    assert (result.exit_code, "warning" in result.stderr) == (0, False), result.stderr
    config = json.loads((run / "config.json").read_text())
    assert (config["preprocessing"]["mpp"], config["preprocessing"]["read_mpp"]) == (pytest.approx(1.0), 1.0)
    result = fit("evaluate", tmp_path / "data", "--checkpoint", run, "--split", "all", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout)["images"] == 4
