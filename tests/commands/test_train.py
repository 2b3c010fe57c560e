"""`fit train`: what it prints, what it writes, what it refuses, and what Ctrl-C does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.pictures import colored, save
from typer.testing import Result

from fitcli.data.loader import Loader
from fitcli.tasks import context, validation

Fit = Callable[..., Result]


def quick(data: Path, run: Path, *more: object) -> list[object]:
    return ["train", data, "--out", run, "--preset", "debug", "--steps", "2", "--device", "cpu", *more]


def refused(result: Result, code: int, *words: str) -> None:
    """One line on stderr, nothing on stdout, no traceback."""
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr
    if code == 1:
        assert result.stderr.startswith("error: ")
        assert result.stderr.count("\n") == 1


def test_a_run_folder(trained: Path) -> None:
    assert {path.name for path in trained.iterdir()} == {
        "config.json", "model.safetensors", "last", "training", "metrics.jsonl", "tensorboard",
    }  # fmt: skip
    config = json.loads((trained / "config.json").read_text())
    assert config["classes"] == ["blue", "red"]
    assert config["preprocessing"]["channels"] == 3
    assert config["preprocessing"]["dtype"] == "uint8"
    # The colours of the two classes, mixed.
    assert config["preprocessing"]["mean"] == pytest.approx([120, 60, 120], abs=12)


def test_workers_change_who_reads_and_nothing_else(
    fit: Fit, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []

    def noted(*given: Any, **more: Any) -> Loader:
        loader = Loader(*given, **more)
        threads.append(loader.threads)
        return loader

    for module in (context, validation):
        monkeypatch.setattr(module, "Loader", noted)
    weights = []
    for workers in (1, 5):
        run = tmp_path / str(workers)
        assert fit(*quick(dataset, run, "--workers", workers)).exit_code == 0
        assert set(threads) == {workers}, "training and validation"
        weights.append((run / "model.safetensors").read_bytes())
        threads.clear()
    assert weights[0] == weights[1]
    refused(fit(*quick(dataset, tmp_path / "none", "--workers", 0)), 2, "--workers")


def test_what_is_said(fit: Fit, dataset: Path, tmp_path: Path) -> None:
    result = fit(*quick(dataset, tmp_path / "run"))
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith(f"{tmp_path / 'run'}: 2 steps, best validation accuracy ")
    assert result.stdout.count("\n") == 1
    begun, step, *others = result.stderr.splitlines()
    assert "10 images to train on, 2 to validate, 2 steps on cpu in fp32" in begun
    assert step.startswith("step 2 of 2: ")
    assert not others, "hints are for a terminal"


def test_that_nothing_is_held_out_is_said(fit: Fit, dataset: Path, tmp_path: Path) -> None:
    lines = [f"{path},{path.parent.name},train" for path in sorted(dataset.glob("*/*"))]
    (tmp_path / "data.csv").write_text("\n".join(["path,label,split", *lines]))
    result = fit(*quick(tmp_path / "data.csv", tmp_path / "run"))
    assert result.exit_code == 0, result.stderr
    assert "no image is held out to validate on" in result.stderr
    assert result.stdout == f"{tmp_path / 'run'}: 2 steps\n"


def test_what_is_said_in_a_terminal(fit: Fit, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr("fitcli.console.Console.is_watched", True)
    result = fit(*quick(dataset, tmp_path / "run"))
    assert result.exit_code == 0, result.stderr
    assert "10 images to train on, 2 to validate" in result.stderr
    assert "(best " in result.stderr
    assert f"next: fit classify IMAGE --checkpoint {tmp_path / 'run'}" in result.stderr


def test_it_learns(trained: Path) -> None:
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    accuracies = [line["accuracy"] for line in lines if line["kind"] == "validation"]
    assert max(accuracies) == 1.0
    losses = [line["loss"] for line in lines if line["kind"] == "train"]
    assert np.mean(losses[-3:]) < np.mean(losses[:3])


def test_every_option_reaches_the_run(fit: Fit, dataset: Path, tmp_path: Path) -> None:
    options = [
        "--size", 32, "--batch-size", 3, "--accumulate", 2, "--learning-rate", 0.01, "--weight-decay", 0.2, "--clip",
        0.5, "--label-smoothing", 0.1, "--balance", "--no-augment", "--seed", 9, "--precision", "fp32",
    ]  # fmt: skip
    result = fit(*quick(dataset, tmp_path / "run", *options))
    assert result.exit_code == 0, result.stderr
    stored = json.loads((tmp_path / "run/training/settings.json").read_text())
    expected = {
        "preset": "debug", "size": 32, "steps": 2, "batch_size": 3, "accumulate": 2, "learning_rate": 0.01,
        "weight_decay": 0.2, "clip": 0.5, "label_smoothing": 0.1, "balance": True, "augment": False, "seed": 9,
        "precision": "fp32",
    }  # fmt: skip
    assert {name: stored[name] for name in expected} == expected


def test_a_second_start_is_refused_unless_resumed(fit: Fit, dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    refused(fit(*quick(dataset, run, "--resume")), 1, "no run to resume; start one without --resume")
    assert not run.exists()
    assert fit(*quick(dataset, run)).exit_code == 0
    before = (run / "model.safetensors").read_bytes()
    refused(fit(*quick(dataset, run)), 1, "holds a run already; continue it with --resume, or choose another --out")
    assert (run / "model.safetensors").read_bytes() == before
    assert fit(*quick(dataset, run, "--resume")).exit_code == 0
    refused(fit(*quick(dataset, run, "--resume", "--seed", 3)), 1, "--seed: ", "begun with seed = 0, not 3")
    short = ["train", dataset, "--out", run, "--device", "cpu", "--resume"]
    assert fit(*short).exit_code == 0
    refused(fit(*short, "--preset", "tiny"), 1, "--preset: ", "begun with preset = debug, not tiny")
    assert fit(*short, "--steps", 3).stdout.startswith(f"{run}: 3 steps")


def test_out_of_time_it_is_saved_and_goes_on(fit: Fit, dataset: Path, tmp_path: Path) -> None:
    """What was asked for was done: code 0, and stdout says what there is. At least one step is done every time."""
    run = tmp_path / "run"
    result = fit(*quick(dataset, run, "--max-minutes", 0))
    assert result.exit_code == 0, result.stderr
    assert result.stdout == f"{run}: 1 of 2 steps at the time limit; continue with --resume\n"
    assert "max_minutes" not in (run / "training/settings.json").read_text()
    result = fit(*quick(dataset, run, "--max-minutes", 60, "--auto-resume"))
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith(f"{run}: 2 steps, best validation accuracy ")


def test_places_that_are_taken(fit: Fit, dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine").write_text("mine")
    refused(fit(*quick(dataset, tmp_path / "file")), 1, "is not an empty folder; choose another --out")
    refused(fit(*quick(dataset, tmp_path / "full")), 1, "is not an empty folder; choose another --out")
    refused(fit(*quick(dataset, tmp_path / "file/run")), 1, "is a file; choose another --out")
    assert (tmp_path / "file").read_text() == "mine"
    assert list((tmp_path / "full").iterdir()) == [tmp_path / "full/mine"]


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a file system that takes no folder")
def test_a_place_that_cannot_be_written(fit: Fit, dataset: Path) -> None:
    result = fit(*quick(dataset, Path("/proc/run")))
    assert result.exit_code == 1
    assert "error: --out /proc/run: " in result.stderr
    assert "Traceback" not in result.output


def test_wrong_words(fit: Fit, dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    refused(fit(*quick(dataset, run)[:4], "--preset", "huge"), 1, "no preset 'huge'; there are debug, nano, tiny")
    refused(
        fit(*quick(dataset, run)[:4], "--preset", "tiny", "--patch", 7), 1, "--preset tiny --patch 7: ", "multiple of 4"
    )
    refused(
        fit(*quick(dataset, run, "--device", "tpu")), 1, "--device tpu: unknown", "use auto, cpu, cuda, cuda:N or mps"
    )
    refused(
        fit(*quick(dataset, run, "--device", "cuda:99")),
        1,
        "--device cuda:99: not on this machine",
        "--device auto or cpu",
    )
    refused(fit(*quick(dataset, run, "--learning-rate", "nan")), 1, "--learning-rate")
    refused(fit(*quick(dataset, run, "--label-smoothing", "2")), 1, "--label-smoothing")
    refused(fit(*quick(dataset, run, "--max-minutes", "-1")), 2, "--max-minutes")
    refused(fit(*quick(dataset, run, "--batch-size", "0")), 2, "--batch-size")
    assert not run.exists()


def test_data_sets_that_cannot_be_used(fit: Fit, tmp_path: Path) -> None:
    run, data = tmp_path / "run", tmp_path / "data"
    refused(fit(*quick(data, run)), 1, f"{data}: no such data set")
    data.mkdir()
    refused(fit(*quick(data, run)), 1, f"{data}: no images found")
    for label, count in (("a", 3), ("b", 1)):
        for number in range(count):
            save(data / label / f"{number}.png", colored((8, 8), (1, 2, 3), number))
    refused(fit(*quick(data, run)), 1, "class 'b' has one image")
    (data / "b/broken.tif").write_text("a text that is named like an image")
    refused(fit(*quick(data, run)), 1, "broken.tif: ")
    (tmp_path / "list.csv").write_text("path,label\ndata/a/0.png,x\ndata/a/9.png,y\n")
    refused(fit(*quick(tmp_path / "list.csv", run)), 1, "list.csv, line 3: no file", "9.png")
    refused(fit(*quick(data / "a/0.png", run)), 1, "0.png")
    assert not run.exists()


def test_ctrl_c_saves_and_the_run_can_be_resumed(dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = ["train", dataset, "--out", run, "--preset", "debug", "--steps", "400", "--device", "cpu"]
    command = [sys.executable, "-c", "from fitcli.app import main; main()", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment
    ) as process:
        try:
            deadline = time.monotonic() + 120
            while not (run / "metrics.jsonl").exists() or len((run / "metrics.jsonl").read_text().splitlines()) < 4:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            output, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert output == ""
    assert said.splitlines()[-1] == f"interrupted: {run} was saved, continue with --resume"
    assert "Traceback" not in said

    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert steps[-1] < 400
    assert {path.name for path in run.iterdir()} >= {"config.json", "model.safetensors", "last", "training"}
    assert not list(run.rglob(".fit-*"))
    # Asked to stop again at once, it goes on from there.
    with subprocess.Popen(
        [*command, "--resume"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment
    ) as process:
        try:
            while len((run / "metrics.jsonl").read_text().splitlines()) <= len(steps):
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    again = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert again[: len(steps)] == steps
    assert again[len(steps)] == steps[-1] + 1
