"""The page of a run: its numbers, a resumed run continues it, nothing that fails there ends a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from support.html_pages import ParsedPage
from typer.testing import Result

from fitcli.errors import ImageError
from fitcli.tasks.classify.report import ClassificationReport

Fit = Callable[..., Result]

QUICK = ("--preset", "debug", "--batch-size", "4", "--device", "cpu", "--report")


def test_the_page_of_a_run_has_its_numbers(trained: Path) -> None:
    parsed = ParsedPage.of((trained / "report.html").read_text())
    entries = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    last = [entry for entry in entries if entry["kind"] == "validation"][-1]
    assert parsed.facts["last validation loss"] == f"{last['loss']:.4g} (step {last['step']})"
    steps = max(entry["step"] for entry in entries)
    assert parsed.facts["steps"] == f"{steps} of {steps}"
    assert len(parsed.images) == 2 * 2, "an image and its evidence, for two images"
    images = next(table for table in parsed.tables if table[0][0] == "class")
    assert images[1:] == [["all images", "10", "2", "0"], ["blue", "5", "1", "0"], ["red", "5", "1", "0"]]
    assert any(row[:2] == ["--epochs", "20"] for row in parsed.tables[-1])
    assert Image.open(trained / "curves.png").size == (1280, 800)


@pytest.mark.more
def test_a_resumed_run_continues_its_curves(fit: Fit, dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert fit("train", dataset, "--out", run, *QUICK, "--steps", 3).exit_code == 0
    before = (run / "report.html").read_text()
    assert fit("train", dataset, "--out", run, *QUICK, "--steps", 6, "--resume").exit_code == 0
    after = (run / "report.html").read_text()
    assert (ParsedPage.of(before).facts["steps"], ParsedPage.of(after).facts["steps"]) == ("3 of 3", "6 of 6")
    first = json.loads((run / "metrics.jsonl").read_text().splitlines()[0])
    # The description of the loss begins with the first step of the first process.
    assert f"training: 1, {first['loss']:.4g} to 6, " in ParsedPage.of(after).text


def test_no_report(fit: Fit, dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert fit("train", dataset, "--out", run, *QUICK, "--steps", 1, "--no-report").exit_code == 0
    assert not {"report.html", "curves.png"} & {path.name for path in run.iterdir()}


@pytest.mark.more
def test_weights_are_those_of_a_run_without_a_page(fit: Fit, dataset: Path, tmp_path: Path) -> None:
    for name, options in (("with", ()), ("without", ("--no-report",))):
        assert fit("train", dataset, "--out", tmp_path / name, *QUICK, "--epochs", 3, *options).exit_code == 0
    files = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("with", "without")]
    assert files[0] == files[1]


def test_a_page_that_cannot_be_written_ends_no_run(fit: Fit, dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert fit("train", dataset, "--out", run, *QUICK, "--steps", 1).exit_code == 0
    (run / "report.html").unlink()
    (run / "report.html").mkdir()
    (run / "report.html" / "mine").touch()
    result = fit("train", dataset, "--out", run, *QUICK, "--steps", 2, "--resume")
    assert result.exit_code == 0, result.stderr
    assert "report.html: cannot be written" in result.stderr
    assert (run / "report.html" / "mine").exists()


def test_an_image_that_cannot_be_shown_ends_no_run(
    fit: Fit, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def case(*arguments: object) -> None:
        raise ImageError(Path("x.tif"), "is <broken>")

    monkeypatch.setattr(ClassificationReport, "case", case)
    run = tmp_path / "run"
    assert fit("train", dataset, "--out", run, *QUICK, "--steps", 1).exit_code == 0
    parsed = ParsedPage.of((run / "report.html").read_text())
    assert parsed.text.count("cannot be shown: x.tif: is <broken>") == 2


@pytest.mark.walk(1)
@pytest.mark.parametrize("broken", ["samples", "case", "colors"])
def test_a_fault_of_a_report_ends_no_run(
    fit: Fit, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def fail(*_: object) -> None:
        raise KeyError("fault")

    monkeypatch.setattr(ClassificationReport, broken, fail)
    result = fit("train", dataset, "--out", tmp_path / "run", *QUICK, "--steps", 2, "--save-every", 1)
    assert result.exit_code == 0, result.output
    assert result.stderr.count("report.html: cannot be written (KeyError: 'fault')") == 1
    assert (tmp_path / "run" / "model.safetensors").exists()


@pytest.mark.more
def test_a_run_that_enlarges_has_a_page_without_generated_images(fit: Fit, dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ("--task", "diffusion", "--enlarge", 4, "--size", 32, "--steps", 1)
    result = fit("train", dataset, "--out", run, *QUICK, *options)
    assert result.exit_code == 0, result.output
    assert "report.html" not in result.stderr
    text = ParsedPage.of((run / "report.html").read_text()).text
    assert "--enlarge4" in text
    assert "Generated images" not in text

    report = tmp_path / "evaluation.html"
    scored = fit("evaluate", dataset, "--checkpoint", run, "--device", "cpu", "--report", report, "--split", "all")
    assert scored.exit_code == 0, scored.output
    parsed = ParsedPage.of(report.read_text())
    assert "Error by level of noise" in parsed.text
    assert "Generated images" not in parsed.text
