"""`fit train`: what it prints, what it writes, what it refuses, and what Ctrl-C does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from support.pictures import colored, save
from typer.testing import Result

from fitcli.data.loader import Loader
from fitcli.images.base import ImageInfo
from fitcli.images.open import create_image, open_image
from fitcli.images.window import Window
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
        "config.json", "model.safetensors", "last", "training", "metrics.jsonl", "tensorboard", "report.html",
        "curves.png",
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
    begun, defaults, pixels, classes, hint, scale, step, *others = result.stderr.splitlines()
    assert defaults == (
        "defaults of preset debug: --learning-rate 0.001, --warmup 0.1, --ema 0.9999, --augment, --drop-path 0"
    )
    assert pixels.startswith("pixels: 3 channels of uint8 from ")
    assert classes == "classes (training + validation images): blue (5 + 1), red (5 + 1)"
    assert hint == "2 validation images choose the weights to keep; with fewer than 50, their scores depend on chance"
    assert scale == "scale: unknown"
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
    refused(
        fit(*quick(dataset, run)[:4], "--preset", "huge"),
        1,
        "--preset huge: no such preset; there are debug, nano, mini, tiny",
    )
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


@pytest.mark.more
def test_ctrl_c_saves_and_the_run_can_be_resumed(fit: Fit, dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ["--preset", "debug", "--steps", "400", "--device", "cpu", "--no-report"]
    arguments = ["train", dataset, "--out", run, *options]
    command = [sys.executable, "-c", "from fitcli.app import main; main()", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment
    ) as process:
        try:
            deadline = time.monotonic() + 240
            while not (run / "metrics.jsonl").exists() or len((run / "metrics.jsonl").read_text().splitlines()) < 4:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            output, said = process.communicate(timeout=240)
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
    more = fit("train", dataset, "--out", run, "--device", "cpu", "--resume", "--steps", steps[-1] + 1)
    assert more.exit_code == 0, more.stderr
    again = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert again[: len(steps)] == steps
    assert again[len(steps)] == steps[-1] + 1


def test_the_first_lines_say_what_is_trained_on(fit: Fit, tmp_path: Path) -> None:
    for label in ("Normal", "normal"):
        for number in range(3):
            save(
                tmp_path / "data" / label / f"{number}.tif",
                colored((16, 16), (90, 90, 90), number),
                0.25 * (number + 1),
            )
    (tmp_path / "data/normal/a.czi").touch()
    result = fit(*quick(tmp_path / "data", tmp_path / "run"))
    assert result.exit_code == 0, result.stderr
    assert [" ".join(line.split()) for line in result.stderr.splitlines()][:9] == [
        f"warning: {tmp_path / 'data'}: classes whose names differ only by case, spaces or Unicode form: 'Normal' and "
        "'normal'; they stay different classes; give them one name if they are one class",
        f"warning: {tmp_path / 'data'}: the images differ in scale: 0.25 (2 images), 0.5 (2 images), 0.75 (2 images) "
        "microns per pixel, so the same thing has several sizes in pixels; --mpp 0.75 reads all of them at one scale",
        result.stderr.splitlines()[2],
        *result.stderr.splitlines()[3:5],
        "classes (training + validation images): Normal (2 + 1), normal (2 + 1)",
        "1 file passed over: normal/a.czi; it is a Zeiss CZI image, which fit does not read; convert it with "
        "`bioformats2raw a.czi a.zarr`, or `bfconvert a.czi a.ome.tif`",
        "2 validation images choose the weights to keep; with fewer than 50, their scores depend on chance",
        "scale: 0.25 (2 images), 0.5 (2 images), 0.75 (2 images) microns per pixel",
    ]
    assert json.loads((tmp_path / "run/config.json").read_text())["preprocessing"]["mpp"] is None
    result = fit("evaluate", tmp_path / "data", "--checkpoint", tmp_path / "run")
    assert (result.exit_code, result.stderr) == (0, ""), "a run of mixed scales does not warn"


@pytest.mark.walk(1)
@pytest.mark.parametrize("command", ["classify", "embed", "evaluate"])
def test_images_of_another_scale_than_in_training(fit: Fit, tmp_path: Path, command: str) -> None:
    for label, name, scale in product(("a", "b"), ("train", "same", "other"), (0.5, 0.51)):
        path = tmp_path / name / label / f"{scale}.tif"
        save(path, colored((16, 16), (90, 90, 90), 1), scale / 2 if name == "other" else scale)
    run = tmp_path / "run"
    assert fit(*quick(tmp_path / "train", run)).exit_code == 0
    assert json.loads((run / "config.json").read_text())["preprocessing"]["mpp"] == pytest.approx(0.505)
    for name in ("same", "other"):
        images = [tmp_path / name] if command == "evaluate" else sorted((tmp_path / name).glob("*/*"))
        more = {"embed": ["--out", tmp_path / f"features {name}"], "evaluate": ["--split", "all"]}.get(command, [])
        result = fit(command, *images, "--checkpoint", run, *more)
        assert result.exit_code == 0, result.stderr
        said = [line for line in result.stderr.splitlines() if "microns per pixel" in line]
        assert len(said) == (name == "other"), result.stderr
        assert name == "same" or "the run was trained at 0.505" in said[0]


def pyramids(folder: Path, *scales: float | None) -> Path:
    """Make a data set of two classes with an image of each scale, all of the same 24 x 24 microns."""
    for label, scale in product("ab", scales):
        side = 96 if scale is None else round(24 / scale)
        pixels = colored((side, side), (90, 90, 90) if label == "a" else (160, 90, 90), 1)
        save(folder / label / f"{scale}.tif", pixels, scale, levels=2, compression="deflate", chunk=16)
    return folder


def test_a_scale_is_kept_and_applied_by_the_other_commands(fit: Fit, tmp_path: Path) -> None:
    data, run = pyramids(tmp_path / "data", 0.25, 0.5, 0.8), tmp_path / "run"
    result = fit(*quick(data, run, "--mpp", 0.5))
    assert result.exit_code == 0, result.stderr
    assert "scale: 0.5 microns per pixel" in result.stderr.splitlines()
    assert "warning" not in result.stderr
    preprocessing = json.loads((run / "config.json").read_text())["preprocessing"]
    assert (preprocessing["read_mpp"], preprocessing["mpp"]) == (0.5, pytest.approx(0.5))
    images = sorted(data.glob("a/*"))
    result = fit("classify", *images, "--checkpoint", run, "--json", "--heatmap", tmp_path / "maps")
    assert (result.exit_code, result.stderr) == (0, "")
    assert {(entry["width"], entry["height"]) for entry in json.loads(result.stdout)} == {(48, 48)}
    # Another choice for once; it is another scale than in training.
    result = fit("classify", images[0], "--checkpoint", run, "--json", "--level", 0, "--heatmap", tmp_path / "map.tif")
    assert json.loads(result.stdout)[0]["width"] == 96
    assert "the run was trained at 0.5" in result.stderr
    # The heat map of a rescaled image covers the same microns.
    fit("classify", images[2], "--checkpoint", run, "--heatmap", tmp_path / "map.tif")
    with open_image(tmp_path / "map.tif") as layer:
        assert layer.info.mpp == pytest.approx(0.5)
        assert layer.info.size == (48, 48)
    result = fit("embed", *images, "--checkpoint", run, "--out", tmp_path / "features")
    assert (result.exit_code, result.stderr) == (0, "")
    result = fit("evaluate", data, "--checkpoint", run, "--split", "all", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout)["images"] == 6
    result = fit(*quick(data, run, "--resume", "--epochs", 2))
    assert result.exit_code == 0, result.stderr
    refused(fit(*quick(data, run, "--resume", "--mpp", 0.25)), 1, "--mpp: the run was begun with mpp = 0.5, not 0.25")


def stacks(folder: Path) -> Path:
    """A data set of two classes that differ in the maximum over Z of channel Cy5 at time 1 alone."""
    rng = np.random.default_rng(0)
    for label, number in product("ab", range(3)):
        pixels = rng.integers(0, 40, (2, 3, 4, 32, 32)).astype(np.uint8)
        pixels[1, 2, number] += 0 if label == "a" else 150
        (folder / label).mkdir(parents=True, exist_ok=True)
        metadata = {"axes": "TCZYX", "Channel": {"Name": ["DAPI", "488", "Cy5"]}}
        path = folder / label / f"{label}{number}.ome.tif"
        tifffile.imwrite(path, pixels, ome=True, photometric="minisblack", metadata=metadata)
    return folder


def test_planes_are_kept_and_applied_by_the_other_commands(fit: Fit, tmp_path: Path) -> None:
    data, run = stacks(tmp_path / "data"), tmp_path / "run"
    refused(fit(*quick(data, run)), 1, "holds 2 time points (axis T of TCZYX); choose one with --t N")
    refused(fit(*quick(data, run, "--t", 1)), 1, "holds 4 focal planes (axis Z of TCZYX); choose with --z N, --z max")
    refused(fit(*quick(data, run, "--t", 1, "--z", "max", "--channels", "GFP")), 1, "has no channel GFP, only channels")
    refused(fit(*quick(data, run, "--t", 1, "--z", "low")), 1, "--z must be a number of at least 0, max or mean")
    result = fit(*quick(data, run, "--t", 1, "--z", "max", "--channels", "Cy5", "--epochs", 3))
    assert result.exit_code == 0, result.stderr
    preprocessing = json.loads((run / "config.json").read_text())["preprocessing"]
    assert {name: preprocessing.get(f"read_{name}") for name in ("z", "t", "channels", "series")} == {
        "z": "max", "t": 1, "channels": "Cy5", "series": None
    }  # fmt: skip
    assert (preprocessing["channels"], preprocessing["limits"][1] > 150) == (1, True)
    images = sorted(data.glob("*/*"))
    result = fit("classify", *images, "--checkpoint", run, "--json")
    assert (result.exit_code, result.stderr, len(json.loads(result.stdout))) == (0, "", 6)
    chosen = [f"{images[3]}#z={z}&t=0" for z in (0, 1)]
    result = fit("classify", *chosen, "--checkpoint", run, "--json", "--heatmap", tmp_path / "maps")
    assert (result.exit_code, result.stderr) == (0, "")
    assert [entry["path"] for entry in json.loads(result.stdout)] == chosen
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == ["b0-z0-t0.png", "b0-z1-t0.png"]
    result = fit("embed", *chosen, "--checkpoint", run, "--out", tmp_path / "features", "--state", tmp_path / "state")
    assert (result.exit_code, result.stderr) == (0, "")
    refused(fit("classify", images[0], "--checkpoint", run, "--z", 4), 1, "has no focal plane 4, only 0 to 3; give")
    result = fit("evaluate", data, "--checkpoint", run, "--split", "all", "--json")
    assert (result.exit_code, json.loads(result.stdout)["images"]) == (0, 6)
    listing = tmp_path / "list.csv"
    rows = [f"data/{path.parent.name}/{path.name},{path.parent.name},val,{z}" for path in images for z in (0, 3)]
    listing.write_text("\n".join(["path,label,split,z", *rows]))
    result = fit("evaluate", listing, "--checkpoint", run, "--json", "--csv", tmp_path / "scores.csv")
    assert (result.exit_code, json.loads(result.stdout)["images"]) == (0, 12), result.stderr
    result = fit(*quick(data, run, "--resume", "--epochs", 4))
    assert result.exit_code == 0, result.stderr
    refused(fit(*quick(data, run, "--resume", "--z", "mean")), 1, "--z: the run was begun with z = max, not mean")


def test_a_level_is_kept_and_applied_by_the_other_commands(fit: Fit, tmp_path: Path) -> None:
    data, run = pyramids(tmp_path / "data", 0.5, 0.51), tmp_path / "run"
    assert fit(*quick(data, run, "--level", 1)).exit_code == 0
    pixels = json.loads((run / "config.json").read_text())["preprocessing"]
    assert (pixels["read_level"], pixels["trained_sides"], pixels["trained_scales"]) == (1, [24, 24], [1.0, 1.02])
    result = fit("classify", data / "a/0.5.tif", "--checkpoint", run, "--json")
    assert (json.loads(result.stdout)[0]["width"], result.stderr) == (24, "")
    refused(fit("classify", data / "a/0.5.tif", "--checkpoint", run, "--level", 5), 1, "only levels 0 to 1; give")


def test_scales_that_cannot_be(fit: Fit, tmp_path: Path) -> None:
    data, run = pyramids(tmp_path / "data", 0.5, 0.8, None), tmp_path / "run"
    refused(fit(*quick(data, run, "--mpp", 0.5)), 1, "None.tif: does not say its microns per pixel", "leave out --mpp")
    refused(fit(*quick(data, run, "--mpp", 0.5, "--level", 1)), 1, "--level and --mpp both choose")
    refused(fit(*quick(data, run, "--mpp", 0)), 1, "--mpp must be above 0")
    refused(fit(*quick(data, run, "--mpp", 1e-9, "--max-bad-images", 2)), 1, "check the scale")
    assert fit(*quick(data, run, "--level", -1)).exit_code == 2
    assert not run.exists()
    assert fit(*quick(data, run, "--mpp", 0.5, "--max-bad-images", 2)).exit_code == 0
    for command in ("classify", "embed"):
        more = ["--out", tmp_path / "features"] if command == "embed" else []
        paths = sorted(data.glob("a/*"))
        result = fit(command, *paths, "--checkpoint", run, *more)
        assert result.exit_code == 0, "as in training, an image without a scale is read as it is"
        assert result.stderr.count("warning") == result.stderr.count("does not say its microns per pixel") == 1
        result = fit(command, *paths, "--checkpoint", run, *more, "--mpp", 0.5)
        assert (result.exit_code, result.stderr.count("error: ")) == (1, 1)


def test_what_is_said_about_pixels(fit: Fit, tmp_path: Path) -> None:
    """Type, range and nodata; and a warning if leaving out background leaves almost nothing."""
    for label in ("a", "b"):
        for number in range(4):
            rng = np.random.default_rng([number, label == "a"])
            pixels = rng.integers(300, 1500, (160, 160, 1)).astype(np.uint16)
            pixels[:, :40] = 0
            info = ImageInfo(height=160, width=160, channels=1, dtype=pixels.dtype, nodata=0)
            (tmp_path / "data" / label).mkdir(parents=True, exist_ok=True)
            with create_image(tmp_path / "data" / label / f"{number}.tif", info) as canvas:
                canvas.write(Window(0, 0, 160, 160), pixels)
    options = ["--skip-background", "--background-threshold", "0.9"]
    result = fit(*quick(tmp_path / "data", tmp_path / "run", *options))
    assert result.exit_code == 0, result.stderr
    expected = "from 300 to 1499 (11 bits); nodata 0; 25.0% of the sampled values missing"
    assert f"pixels: 1 channel of uint16 {expected}" in result.stderr
    assert "--skip-background leaves out almost all of 6 of 6 training images that were checked" in result.stderr
    image = tmp_path / "data/a/0.tif"
    result = fit("classify", image, "--checkpoint", tmp_path / "run", "--device", "cpu")
    assert f"{image}: 3 of 4 groups are left out as background" in result.stderr
    result = fit("classify", image, "--checkpoint", tmp_path / "run", "--device", "cpu", "--no-skip-background")
    assert "left out" not in result.stderr
