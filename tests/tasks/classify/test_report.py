"""Pictures of a classifier: names, truth and answer, and evidence; results as HTML in notebooks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.html_pages import ParsedPage
from typer.testing import Result

from fitcli.data.dataset import load_dataset
from fitcli.device.runtime import choose_runtime
from fitcli.images.open import open_image
from fitcli.tasks.classify.classify_image import DEFAULTS, classify_image
from fitcli.tasks.classify.report import LEGEND, ClassificationReport
from fitcli.tasks.load import load_run


def test_an_image_beside_its_evidence(trained: Path, dataset: Path) -> None:
    runtime = choose_runtime("cpu", inference=True)
    checkpoint = load_run(trained, runtime)
    report, sample = ClassificationReport(checkpoint, runtime, DEFAULTS), load_dataset(dataset).train[0]
    with open_image(sample.path) as image:
        case, result = report.case(image, sample), classify_image(checkpoint, image, runtime)
    truth, found = checkpoint.config.classes[sample.target], checkpoint.config.classes[result.probabilities.argmax()]
    assert case.text.startswith(f"is {truth}, found {found} ({result.probabilities.max():.1%}); loss ")
    assert [picture.caption for picture in case.pictures] == ["image", "evidence"]
    assert case.pictures[0].pixels.shape == case.pictures[1].pixels.shape == (image.info.height, image.info.width, 3)
    assert report.badness(sample, result.probabilities.tolist()) == pytest.approx(
        float(case.text.split()[-1]), abs=1e-3
    )
    assert [name for _, name in report.colors()] == list(LEGEND.values())
    table = ParsedPage.of(result._repr_html_()).tables[0]
    assert table[1:] == [["0", str(n), f"{p:.6g}"] for n, p in enumerate(result.probabilities.tolist())]


@pytest.mark.more
def test_several_targets(fit: Callable[..., Result], dataset: Path, tmp_path: Path) -> None:
    rows = ["path,label:colour,value:size,order:grade,time:death,event:death,split"]
    for number in range(12):
        image = sorted((dataset / ("red" if number % 2 else "blue")).iterdir())[number // 2]
        split = "val" if number > 7 else "train"
        rows.append(
            f"{image},{image.parent.name},{number / 3},{number % 3 + 1},{number + 1},{number % 4 > 0:d},{split}"
        )
    (tmp_path / "data.csv").write_text("\n".join(rows) + "\n")
    run, page = tmp_path / "run", tmp_path / "r.html"
    options = ("--preset", "debug", "--steps", 2, "--batch-size", 4, "--device", "cpu")
    result = fit("train", tmp_path / "data.csv", "--out", run, *options)
    assert result.exit_code == 0, result.stderr
    result = fit("evaluate", tmp_path / "data.csv", "--checkpoint", run, "--device", "cpu", "--report", page)
    assert result.exit_code == 0, result.stderr
    parsed = ParsedPage.of(page.read_text())
    for title in ("ROC", "Predicted against true values", "Residuals", "How many levels too high",
                  "Survival by predicted risk (Kaplan-Meier)"):  # fmt: skip
        assert title in parsed.text
    assert parsed.text.count("Answers to ") == 2 * 4, "headings and links to them"
