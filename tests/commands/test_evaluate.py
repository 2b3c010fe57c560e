"""`fit evaluate`."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.batches import live
from support.command_line import Fit
from support.pictures import colored, save

from fitcli.data.dataset import load_dataset
from fitcli.device.runtime import choose_runtime
from fitcli.images.open import open_image
from fitcli.patches.preprocessing import Preprocessing
from fitcli.runs.config import RunConfig, save_config
from fitcli.runs.weights import save_weights
from fitcli.tasks.autoregressive.scores import image_bits
from fitcli.tasks.autoregressive.sequences import SequenceConfig
from fitcli.tasks.autoregressive.task import TASK as AUTOREGRESSIVE
from fitcli.tasks.load import load_run
from models.config import DecoderConfig


@pytest.fixture(scope="module")
def decoder_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a decoder that has learned nothing."""
    import torch

    run = tmp_path_factory.mktemp("decoder")
    model = DecoderConfig(
        plan="(1)1(1)", tokens=8 * 8 * 3, latents=2, token_width=16, latent_width=24, token_heads=2, latent_heads=3,
        causal="tokens", token_positions="sincos", vocabulary=16, starts=1,
    )  # fmt: skip
    pixels = Preprocessing(channels=3, dtype="uint8", mean=(0.0,) * 3, std=(1.0,) * 3)
    sequence = SequenceConfig(patch=(8, 8), size=(32, 32), levels=16)
    config = RunConfig(model=model, preprocessing=pixels, classes=(), details=sequence)
    save_config(run, config)
    save_weights(run, live(model, torch.float32))
    return run


def test_a_classifier_by_what_fit_classify_says(fit: Fit, dataset: Path, trained: Path, tmp_path: Path) -> None:
    lines = tmp_path / "lines.csv"
    result = fit("evaluate", dataset, "--checkpoint", trained, "--json", "--csv", lines)
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    held_out = load_dataset(dataset)
    paths = {str(sample.path): held_out.classes[sample.target] for sample in held_out.validation}
    said = json.loads(fit("classify", *paths, "--checkpoint", trained, "--json").stdout)
    right = [entry["predictions"][0]["label"] == paths[entry["path"]] for entry in said]
    assert (found["task"], found["split"], found["images"], found["failed"]) == ("classify", "val", len(paths), 0)
    assert found["accuracy"] == sum(right) / len(right)
    assert sum(map(sum, found["confusion"])) == len(paths)
    assert found["classes"] == ["blue", "red"]
    with lines.open() as file:
        rows = list(csv.DictReader(file))
    assert {row["path"]: row["label"] for row in rows} == paths
    for row, entry in zip(rows, said, strict=True):
        probabilities = {one["label"]: one["probability"] for one in entry["predictions"]}
        assert row["predicted"] == entry["predictions"][0]["label"]
        assert float(row["red"]) == pytest.approx(probabilities["red"], abs=1e-5)


def test_each_split_is_its_own(fit: Fit, dataset: Path, trained: Path, tmp_path: Path) -> None:
    samples = [*load_dataset(dataset).train, *load_dataset(dataset).validation]
    listing = tmp_path / "data.csv"
    splits = ["train", "train", "val", "test"] * 3
    names = ("blue", "red")
    lines = [f"{s.path},{names[s.target]},{split}" for s, split in zip(samples, splits, strict=True)]
    listing.write_text("\n".join(["path,label,split", *lines]) + "\n")
    for split, images in (("train", 6), ("val", 3), ("test", 3), ("all", 12)):
        result = fit("evaluate", listing, "--checkpoint", trained, "--split", split, "--json")
        assert result.exit_code == 0, result.stderr
        assert json.loads(result.stdout)["images"] == images
    result = fit("evaluate", dataset, "--checkpoint", trained, "--split", "test")
    assert result.exit_code == 1
    assert "no images in --split test (it has" in result.stderr


def test_images_that_nothing_could_be_trained_on(fit: Fit, dataset: Path, trained: Path, tmp_path: Path) -> None:
    """Held back elsewhere: of one class, one image, and beside a class that the run does not know."""
    red, blue = (next((dataset / name).glob("*.png")) for name in ("red", "blue"))
    listing = tmp_path / "data.csv"
    for lines, split in (([f"{red},red"], "val"), ([f"{red},red,test", f"{blue},green,train"], "test")):
        columns = "path,label,split" if lines[0].count(",") > 1 else "path,label"
        listing.write_text("\n".join([columns, *lines]) + "\n")
        result = fit("evaluate", listing, "--checkpoint", trained, "--split", split, "--json")
        assert result.exit_code == 0, result.stderr
        found = json.loads(result.stdout)
        assert (found["images"], found["auroc"], sum(found["confusion"][0])) == (1, None, 0)
    result = fit("evaluate", listing, "--checkpoint", trained, "--split", "train")
    assert result.exit_code == 1
    assert result.stderr == f"error: {listing}: the run has no class 'green'; it was trained on blue, red\n"


def test_the_confusion_is_shown(fit: Fit, dataset: Path, trained: Path) -> None:
    arguments = ("evaluate", dataset, "--checkpoint", trained, "--split", "all")
    confusion = json.loads(fit(*arguments, "--json").stdout)["confusion"]
    lines = [line.split() for line in fit(*arguments).stdout.splitlines()]
    for name, row in zip(("blue", "red"), confusion, strict=True):
        assert [name, *map(str, row)] in lines


def test_bits_per_dimension(fit: Fit, dataset: Path, decoder_run: Path) -> None:
    result = fit("evaluate", dataset, "--checkpoint", decoder_run, "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    runtime = choose_runtime("cpu", "fp32")
    checkpoint, bits = load_run(decoder_run, runtime, AUTOREGRESSIVE), []
    for sample in load_dataset(dataset).validation:
        with open_image(sample.path) as image:
            bits.append(image_bits(checkpoint, image, runtime))
    assert found["bits_per_dimension"] == pytest.approx(sum(b.total for b in bits) / sum(b.dimensions for b in bits))
    assert (found["task"], found["images"], found["levels"]) == ("autoregressive", len(bits), 16)
    table = fit("evaluate", dataset, "--checkpoint", decoder_run).stdout
    assert f"{found['bits_per_dimension']:.4f}" in table


@pytest.mark.walk(1)
@pytest.mark.parametrize("size", [[], ["--size", "16"]])
def test_what_training_said_of_its_validation_images_in_the_end(
    fit: Fit, dataset: Path, tmp_path: Path, size: list[str]
) -> None:
    run = tmp_path / "run"
    arguments = ("--task", "autoregressive", "--preset", "debug", "--steps", "2", "--levels", "8", *size)
    result = fit("train", dataset, "--out", run, *arguments)
    assert result.exit_code == 0, result.stderr
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    said = next(line["bits_per_dimension"] for line in lines[::-1] if line.get("kind") == "validation")
    result = fit("evaluate", dataset, "--checkpoint", run, "--json")
    assert result.exit_code == 0, result.stderr
    # Training looks at one random window of each image, where it is trained on windows.
    tolerance = 0.1 if size else 1e-4
    assert json.loads(result.stdout)["bits_per_dimension"] == pytest.approx(said, rel=tolerance)
    assert "another data set" not in result.stderr


def test_a_diffusion_run_noise_level_by_noise_level(fit: Fit, dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    result = fit("train", dataset, "--out", run, "--task", "diffusion", "--preset", "debug", "--steps", "1")
    assert result.exit_code == 0, result.stderr
    lines = tmp_path / "lines.csv"
    found = json.loads(fit("evaluate", dataset, "--checkpoint", run, "--json", "--csv", lines).stdout)
    assert (found["task"], found["images"]) == ("diffusion", 2)
    losses = [level["loss"] for level in found["levels"]]
    assert [level["time"] for level in found["levels"]] == pytest.approx([0.05 + 0.1 * k for k in range(10)])
    assert found["loss"] == pytest.approx(sum(losses) / 10)
    with lines.open() as file:
        rows = list(csv.DictReader(file))
    assert sum(float(row["loss_at_0.55"]) for row in rows) / 2 == pytest.approx(losses[5], abs=1e-5)
    assert "loss at time 0.95" in fit("evaluate", dataset, "--checkpoint", run).stdout


def test_another_data_set_than_that_of_the_training_is_said_to_be(
    fit: Fit, dataset: Path, trained: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(dataset, tmp_path / "other")
    next((other / "red").glob("*.png")).rename(other / "red" / "renamed.png")
    result = fit("evaluate", other, "--checkpoint", trained, "--json")
    assert result.exit_code == 0, result.stderr
    assert "was trained on another data set" in result.stderr
    assert "warning" not in fit("evaluate", dataset, "--checkpoint", trained, "--json").stderr


def test_one_bad_image_is_reported_and_the_others_go_on(
    fit: Fit, dataset: Path, trained: Path, decoder_run: Path, tmp_path: Path
) -> None:
    data = shutil.copytree(dataset, tmp_path / "data")
    broken = load_dataset(data).validation[0].path
    shutil.rmtree(broken) if broken.is_dir() else broken.unlink()
    broken.write_bytes(b"no image at all")
    for run, score in ((trained, "accuracy"), (decoder_run, "bits_per_dimension")):
        result = fit("evaluate", data, "--checkpoint", run, "--json", "--split", "all")
        assert result.exit_code == 1
        assert result.stderr.count("error: ") == 1
        assert broken.name in result.stderr
        found = json.loads(result.stdout)
        assert (found["images"], found["failed"]) == (11, 1)
        assert found[score] > 0


def test_wrong_calls_are_one_line(fit: Fit, dataset: Path, trained: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    for name, source in (("blue", "blue"), ("green", "red")):
        shutil.copytree(dataset / source, other / name)
    image = next((dataset / "red").glob("*.png"))
    wrong = [
        ((other, "--checkpoint", trained), "'green'"),
        ((tmp_path / "none", "--checkpoint", trained), "no such data set"),
        ((dataset, "--checkpoint", tmp_path), "no run folder"),
        ((dataset, "--checkpoint", trained, "--csv", image, "--split", "all"), "would be replaced"),
        ((dataset, "--checkpoint", trained, "--one-per-place"), "changes nothing for a run of --task classify"),
    ]
    for arguments, message in wrong:
        result = fit("evaluate", *arguments)
        assert result.exit_code == 1
        assert message in result.stderr
        assert result.stderr.count("\n") == 1
        assert result.stdout == ""


def test_nothing_to_score_is_an_error(fit: Fit, dataset: Path, trained: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    for name in ("blue", "red"):
        (data / name).mkdir(parents=True)
        for number in range(2):
            (data / name / f"{number}.png").write_bytes(b"no image")
    result = fit("evaluate", data, "--checkpoint", trained)
    assert result.exit_code == 1
    assert "none of 2 images could be scored" in result.stderr


COLUMNS = ("label", "Path", "predicted", "probability:label")
"""Names of classes that are also headings of a CSV file of results."""


def test_classes_called_like_columns(fit: Fit, tmp_path: Path) -> None:
    for label in COLUMNS:
        for number in range(2):
            save(tmp_path / "data" / label / f"{number}.png", colored((16, 16), (90, 90, 90), number))
    data, run = tmp_path / "data", tmp_path / "run"
    assert fit("train", data, "--out", run, "--preset", "debug", "--steps", "1").exit_code == 0
    paths = [path for label in COLUMNS for path in (data / label).iterdir()]
    for command in (("evaluate", data, "--split", "all"), ("classify", *paths)):
        result = fit(*command, "--checkpoint", run, "--csv", tmp_path / "out.csv")
        assert result.exit_code == 0, result.stderr
        with (tmp_path / "out.csv").open() as file:
            headings, *rows = csv.reader(file)
        lower = [heading.lower() for heading in headings]
        assert len(set(lower)) == len(lower) == len(rows[0]), headings
        assert len(rows) == 8
        places = [number for number, heading in enumerate(headings) if heading != "trained_on"][-4:]
        assert all(any(headings[number].endswith(label) for number in places) for label in COLUMNS)
        for row in rows:
            assert sum(float(row[number]) for number in places) == pytest.approx(1, abs=1e-4)
    # The results are a data set again.
    assert set(load_dataset(tmp_path / "out.csv", training=False).classes) <= set(COLUMNS)


@pytest.fixture(scope="module")
def of_patients(fit: Fit, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A CSV file of twelve patients, whose images are named without suffix, and a run of the second of three folds."""
    folder = tmp_path_factory.mktemp("patients")
    lines = ["path,label,case"]
    for number in range(24):
        label = ("red", "blue")[number // 2 % 2]
        color = (200, 60, 40) if label == "red" else (40, 60, 200)
        save(folder / f"slides/u{number}/s{number}.png", colored((32, 32), color, number))
        lines.append(f"s{number},{label},c{number // 2}")
    (folder / "data.csv").write_text("\n".join(lines) + "\n")
    result = fit(
        "train", folder / "data.csv", "--images", folder / "slides", "--out", folder / "run", "--preset", "debug",
        "--epochs", 3, "--group-by", "case", "--folds", 3, "--fold", 2
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert "patients (training + validation): 8 + 4" in result.stderr
    return folder / "data.csv", folder / "run"


def evaluated(fit: Fit, data: Path, run: Path, *options: object) -> dict[str, Any]:
    result = fit("evaluate", data, "--images", data.parent / "slides", "--checkpoint", run, "--json", *options)
    assert result.exit_code == 0, result.stderr
    return dict(json.loads(result.stdout))


@pytest.mark.more
def test_what_the_run_was_trained_on_is_said(fit: Fit, of_patients: tuple[Path, Path]) -> None:
    data, run = of_patients
    assert evaluated(fit, data, run)["trained_on"] == {
        "images": 0, "validated_on": 8, "of": 8, "patients": 0, "of_patients": 4
    }  # fmt: skip
    assert evaluated(fit, data, run, "--split", "all")["trained_on"]["patients"] == 8
    # The same images under other names, as a test set.
    other = data.parent / "other.csv"
    files = sorted((data.parent / "slides").glob("*/*.png"))
    other.write_text(
        "path,label,split\n" + "".join(f"{f},{'red' if i % 2 else 'blue'},test\n" for i, f in enumerate(files))
    )
    result = fit("evaluate", other, "--checkpoint", run, "--split", "test")
    assert "was trained on 16 of 24 images that are scored; their scores are too good" in result.stderr
    assert "16 of 24 images" in result.stdout


def test_the_threshold_of_validation_is_kept_with_the_weights(fit: Fit, of_patients: tuple[Path, Path]) -> None:
    data, run = of_patients
    threshold = json.loads((run / "config.json").read_text())["thresholds"]["label"]["red"]
    assert "thresholds" not in json.loads((run / "last/config.json").read_text())
    found = evaluated(fit, data, run)
    assert (found["positive"], found["threshold"], found["threshold_from"]) == ("red", threshold, "validation")
    assert found["sensitivity"] + found["specificity"] >= 1
    assert found["intervals"]["by"] == "patient"
    again = fit(
        "train", data, "--images", data.parent / "slides", "--out", run, "--resume", "--group-by", "case"
    )  # fmt: skip
    assert again.exit_code == 0, again.stderr
    assert json.loads((run / "config.json").read_text())["thresholds"]["label"]["red"] == threshold


def test_scores_by_patient(fit: Fit, of_patients: tuple[Path, Path], tmp_path: Path) -> None:
    data, run = of_patients
    found = evaluated(fit, data, run, "--per", "case", "--csv", tmp_path / "patients.csv")
    assert found["per_patient"]["patients"] == 4
    with (tmp_path / "patients.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["images"] for row in rows] == ["2"] * 4
    assert {row["trained_on"] for row in rows} == {"validation"}
    assert all(float(row["max:red"]) >= float(row["mean:red"]) for row in rows)
    evaluated(fit, data, run, "--csv", tmp_path / "images.csv")
    with (tmp_path / "images.csv").open() as file:
        assert {row["patient"] for row in csv.DictReader(file)} == {row["patient"] for row in rows}


def test_a_patient_of_two_classes_has_no_score(fit: Fit, of_patients: tuple[Path, Path]) -> None:
    data, run = of_patients
    mixed = data.with_name("mixed.csv")
    mixed.write_text(data.read_text().replace("s0,red", "s0,blue"))
    command = ("evaluate", mixed, "--images", data.parent / "slides", "--checkpoint", run, "--split", "all")
    assert fit(*command).exit_code == 0
    result = fit(*command, "--per", "case")
    assert result.exit_code == 1
    assert "patient c0 has images of class 'blue' and of class 'red'" in result.stderr
    assert "has no column who for --per" in fit(*command, "--per", "who").stderr
