"""The report of an evaluation has the numbers of its JSON document, for every task, and is one safe file."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support.halves import trained_on_halves
from support.html_pages import ParsedPage
from support.pictures import colored, save
from typer.testing import Result

from fitcli.reports.page import LARGEST

Fit = Callable[..., Result]


def reported(fit: Fit, data: Path, run: Path, page: Path, *options: object) -> tuple[dict[str, object], ParsedPage]:
    """Evaluate a run; return the JSON document and the report, whose table has every number of the document."""
    result = fit("evaluate", data, "--checkpoint", run, "--device", "cpu", "--json", "--report", page, *options)
    assert result.exit_code == 0, result.stderr
    text = page.read_text()
    assert len(text.encode()) < LARGEST
    document, parsed = json.loads(result.stdout), ParsedPage.of(text)
    table = {row[0]: row[1] for row in parsed.tables[0][1:]}
    for name, value in document.items():
        if isinstance(value, float):
            assert table[name.replace("_", " ")].split(" ")[0] == f"{value:.4f}", name
        elif isinstance(value, int):
            assert table[name.replace("_", " ")] == str(value), name
    return document, parsed


def test_a_classifier(fit: Fit, dataset: Path, trained: Path, tmp_path: Path) -> None:
    document, parsed = reported(fit, dataset, trained, tmp_path / "r.html", "--split", "all")
    intervals = document["intervals"]["scores"]  # type: ignore[index]
    low, high = intervals["accuracy"]
    assert parsed.facts["accuracy"] == f"{document['accuracy']:.4f} ({low:.4f} to {high:.4f})"
    assert f"over {document['images']} images" in parsed.text
    matrix = next(table for table in parsed.tables if table[0][0] == "is \\ found")
    assert [[int(cell) for cell in row[1:]] for row in matrix[1:]] == document["confusion"]
    assert f"Expected calibration error {document['calibration_error']:.4f}" in parsed.text
    assert f"red: area {document['auroc']:.3f}" in parsed.text
    assert len(parsed.images) == 2 * 12
    assert parsed.tags.count("svg") == 4


def test_hostile_names_are_shown_as_they_stand(fit: Fit, trained: Path, tmp_path: Path) -> None:
    name = "<img src=x onerror=alert(1)>'\"&.png"
    for label, color in (("blue", (40, 60, 200)), ("red", (200, 60, 40))):
        (tmp_path / "data" / label).mkdir(parents=True)
        save(tmp_path / "data" / label / "a.png", colored((40, 40), color, 1)).rename(tmp_path / "data" / label / name)
    _, parsed = reported(fit, tmp_path / "data", trained, tmp_path / "r.html", "--split", "all")
    assert parsed.text.count(name) == 2


def test_a_segmentation(fit: Fit, tmp_path: Path) -> None:
    trained_on_halves(fit, tmp_path, "--report")
    document, parsed = reported(fit, tmp_path / "data.csv", tmp_path / "run", tmp_path / "r.html", "--split", "all")
    matrix = next(table for table in parsed.tables if table[0][0] == "is \\ found")
    counts = [[int(cell.replace(",", "")) for cell in row[1:]] for row in matrix[1:]]
    assert counts == document["confusion"]
    assert {image["alt"] for image in parsed.images} == {"image", "truth", "found", "wrong places"}
    training = ParsedPage.of((tmp_path / "run" / "report.html").read_text())
    assert {image["alt"] for image in training.images} == {"image", "truth", "found", "wrong places"}


@pytest.mark.more
def test_a_detection(fit: Fit, tmp_path: Path) -> None:
    rows = ["path,xmin,ymin,xmax,ymax,label,split"]
    for number in range(3):
        pixels = colored((64, 64), (40, 60, 200), number)
        pixels[10:22, 30:42] = 255
        save(tmp_path / f"{number}.png", pixels)
        rows.append(f"{number}.png,30,10,42,22,square,{'val' if number == 2 else 'train'}")
    (tmp_path / "boxes.csv").write_text("\n".join(rows) + "\n")
    run, options = tmp_path / "run", ("--preset", "debug", "--steps", 60, "--batch-size", 2, "--device", "cpu")
    result = fit("train", tmp_path / "boxes.csv", "--out", run, "--task", "detect", *options, "--learning-rate", 0.01)
    assert result.exit_code == 0, result.stderr
    document, parsed = reported(fit, tmp_path / "boxes.csv", run, tmp_path / "r.html", "--split", "all")
    assert f"read for the mean of {document['froc']['mean']:.3f}" in parsed.text  # type: ignore[index]
    assert f"square: AP {document['ap50']:.3f}" in parsed.text
    words = re.findall(r"(\d+) right, (\d+) false, (\d+) missed", parsed.text)
    right, false, missed = (sum(int(word[n]) for word in words) for n in range(3))
    assert (right + missed, right + false) == (document["true"], document["found"])
    assert any(image["alt"].startswith(("false: ", "missed: ")) for image in parsed.images) == (false + missed > 0)


@pytest.mark.walk(1)
@pytest.mark.parametrize("task", ["diffusion", "autoregressive"])
def test_models_that_generate_show_samples(fit: Fit, dataset: Path, tmp_path: Path, task: str) -> None:
    run = tmp_path / "run"
    options = ("--preset", "debug", "--steps", 1, "--size", 16, "--batch-size", 4, "--device", "cpu", "--ema", 0)
    result = fit("train", dataset, "--out", run, "--task", task, *options, "--report")
    assert result.exit_code == 0, result.stderr
    _, parsed = reported(fit, dataset, run, tmp_path / "r.html")
    assert sum(image["alt"] in ("blue", "red") for image in parsed.images) == 8
    training = ParsedPage.of((run / "report.html").read_text())
    assert [image["alt"] for image in training.images] == ["blue", "red"] * 4


def test_a_report_that_cannot_be_written_is_refused_at_once(
    fit: Fit, dataset: Path, trained: Path, tmp_path: Path
) -> None:
    for name, reason in (("r.pdf", "is no name of a page"), ("none/r.html", "make it first")):
        result = fit("evaluate", dataset, "--checkpoint", trained, "--report", tmp_path / name)
        assert result.exit_code == 1
        assert result.stderr.startswith(f"error: --report {tmp_path / name}")
        assert reason in result.stderr
        assert result.stderr.count("\n") == 1


def test_an_image_that_is_gone_by_then_says_so(fit: Fit, dataset: Path, trained: Path, tmp_path: Path) -> None:
    from fitcli.evaluation import evaluate as module

    data = shutil.copytree(dataset, tmp_path / "data")
    written, removed = module.write_report, data / "red" / "2.png"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "write_report", lambda *arguments: (removed.unlink(), written(*arguments)))
        _, parsed = reported(fit, data, trained, tmp_path / "r.html", "--split", "all")
    assert parsed.text.count("cannot be shown") == 1
    assert len(parsed.images) == 2 * 11
