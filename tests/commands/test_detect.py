"""`fit detect`: training, exit code, stdout, stderr and the files."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from support.command_line import Fit
from support.detect_models import boxed
from support.pictures import colored, save

from fitcli.annotations.objects.object_file import read_objects
from fitcli.annotations.objects.object_set import ObjectSource
from fitcli.images.open import open_image


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return boxed(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def run(fit: Fit, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of a model that finds red and blue squares; a group has 32 pixels per side."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    result = fit(
        "train", data, "--task", "detect", "--out", folder, "--preset", "debug", "--patch", 4, "--steps", 60,
        "--learning-rate", 0.004, "--batch-size", 4, "--no-augment", "--device", "cpu",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    return folder


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dark image with a scale and ten red squares, some on borders of groups."""
    pixels = colored((70, 130), (60, 80, 70), 1)
    for number in range(10):
        top, left = 5 + 30 * (number // 5), 4 + 25 * (number % 5)
        pixels[top : top + 6, left : left + 6] = (220, 60, 60)
    return save(tmp_path_factory.mktemp("images") / "scene.tif", pixels, 0.5)


def test_validation_decides_the_threshold(run: Path) -> None:
    entries = json.loads((run / "config.json").read_text())["objects"]
    begun = json.loads((run / "training/config.json").read_text())["objects"]
    best = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines() if '"validation"' in line]
    assert entries["threshold"] in [line["threshold"] for line in best]
    assert begun["threshold"] == 0.3
    assert {**entries, "threshold": 0.3} == begun


def test_a_run_is_resumed_after_its_threshold_was_decided(fit: Fit, data: Path, run: Path) -> None:
    result = fit("train", data, "--out", run, "--task", "detect", "--resume", "--device", "cpu")
    assert result.exit_code == 0, result.stderr


def test_objects_counts_and_picture(fit: Fit, run: Path, scene: Path, tmp_path: Path) -> None:
    out = tmp_path / "o.geojson"
    result = fit("detect", scene, "--checkpoint", run, "--out", out, "--overlay", tmp_path / "o.png", "--json")
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    (report,) = json.loads(result.stdout)
    found = read_objects(ObjectSource(out))
    assert report["found"] == len(found.classes) == sum(own["count"] for own in report["counts"].values())
    assert report["found"] > 0
    assert report["counts"]["iron"]["per_square_millimetre"] == pytest.approx(
        report["counts"]["iron"]["count"] / (70 * 130 * 0.25e-6)
    )
    with open_image(tmp_path / "o.png") as picture:
        assert picture.info.size == (70, 130)


def test_a_threshold_and_other_formats(fit: Fit, run: Path, scene: Path, tmp_path: Path) -> None:
    counts = []
    for threshold in (0.05, 0.5):
        out = tmp_path / f"{threshold}.csv.gz"
        assert fit("detect", scene, "--checkpoint", run, "--out", out, "--threshold", threshold).exit_code == 0
        rows = list(csv.DictReader(gzip.decompress(out.read_bytes()).decode().splitlines()))
        assert all(float(row["score"]) >= threshold for row in rows)
        counts.append(len(rows))
    assert counts[0] >= counts[1]
    table = fit("detect", scene, "--checkpoint", run)
    assert table.exit_code == 0
    assert "per megapixel" in table.stdout


def test_a_place_has_one_class_unless_you_ask_for_several(
    fit: Fit, run: Path, scene: Path, data: Path, tmp_path: Path
) -> None:
    assert json.loads((run / "config.json").read_text())["objects"]["one_per_place"] is True
    found, scored = {}, {}
    for words in ((), ("--one-per-place",), ("--all-per-place",)):
        result = fit("detect", scene, "--checkpoint", run, "--threshold", 0.05, "--json", *words)
        found[words] = json.loads(result.stdout)[0]["found"]
        result = fit("evaluate", data, "--checkpoint", run, "--json", "--device", "cpu", *words)
        scored[words] = json.loads(result.stdout)["one_per_place"]
    own, one, several = found
    assert 0 < found[own] == found[one] <= found[several]
    assert (scored[own], scored[one], scored[several]) == (True, True, False)


def test_memory_does_not_change_the_objects(fit: Fit, run: Path, scene: Path, tmp_path: Path) -> None:
    for name, options in (("a", ()), ("b", ("--memory", "900MB", "--state", tmp_path / "state"))):
        result = fit(
            "detect", scene, "--checkpoint", run, "--out", tmp_path / f"{name}.json", "--device", "cpu", *options
        )
        assert result.exit_code == 0, result.stderr
    one, other = (json.loads((tmp_path / f"{name}.json").read_text()) for name in "ab")
    boxes = [np.array([own["bbox"] for own in each["annotations"]]) for each in (one, other)]
    np.testing.assert_allclose(*boxes, atol=0.01)


def test_a_bad_image_is_one_line_and_the_others_go_on(fit: Fit, run: Path, scene: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.tif").write_bytes(b"II*\0")
    result = fit("detect", tmp_path / "bad.tif", scene, "--checkpoint", run, "--out", tmp_path / "out", "--json")
    assert result.exit_code == 1
    assert result.stderr.count("error: ") == 1
    assert len(json.loads(result.stdout)) == 1
    assert (tmp_path / "out/scene.geojson").is_file()


def test_evaluate_scores_objects(fit: Fit, run: Path, data: Path, tmp_path: Path) -> None:
    result = fit("evaluate", data, "--checkpoint", run, "--json", "--csv", tmp_path / "rows.csv", "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["task"] == "detect"
    assert set(document["per_class"]) == {"iron", "wood"}
    assert document["true"] == 4
    table = fit("evaluate", data, "--checkpoint", run, "--device", "cpu", "--split", "all")
    assert "side in pixels" in table.stdout


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("images/0.png,9,1,4,5,iron,train\n", "sides exchanged"),
        ("images/0.png,1,1,nan,5,iron,train\n", "coordinates"),
        ("images/0.png,900,1,940,5,iron,val\n", "another split"), ("none.png,1,1,4,5,iron,train\n", "no file"),
    ],
)  # fmt: skip
def test_bad_objects_end_in_one_line(fit: Fit, tmp_path: Path, rows: str, message: str) -> None:
    listing = boxed(tmp_path / "data", rows=rows)
    result = fit(
        "train", listing, "--task", "detect", "--out", tmp_path / "run", "--preset", "debug", "--device", "cpu"
    )
    assert result.exit_code == 1
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
