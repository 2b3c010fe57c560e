"""A run is scored on a split of a data set; bad images are counted, and nothing of the data set is replaced."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from support.command_line import Fit

from fitcli.data.dataset import load_dataset
from fitcli.device.runtime import choose_runtime
from fitcli.distributed.image_queue import ImageQueue
from fitcli.errors import DataError, FitError
from fitcli.evaluation.evaluate import evaluate
from fitcli.tasks.encoding import encode, group_encoder
from fitcli.tasks.encoding.encode import EncodingSettings
from fitcli.tasks.evaluation_result import Evaluation, Split

CPU = choose_runtime("cpu", "fp32")


def score(data: Path, run: Path, split: Split = "val", output: Path | None = None) -> Evaluation:
    result = evaluate(ImageQueue(), data, run, split, CPU, EncodingSettings(), output)
    assert result is not None
    return result


def test_every_image_of_a_split_is_scored(dataset: Path, trained: Path) -> None:
    held_out = load_dataset(dataset).validation
    result = score(dataset, trained)
    assert (result.task, result.split, result.images, result.failed) == ("classify", "val", len(held_out), 0)
    assert [row[0] for row in result.rows] == [sample.path for sample in held_out]
    assert score(dataset, trained, "all").images == 12


def test_bad_images_are_counted_and_the_others_scored(
    dataset: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = shutil.copytree(dataset, tmp_path / "data")
    (data / "red" / "2.png").write_bytes(b"no image")
    result = score(data, trained, "all")
    assert (result.images, result.failed) == (11, 1)
    assert "2.png" in capsys.readouterr().err
    for path in data.glob("*/*"):
        shutil.rmtree(path) if path.is_dir() else path.write_bytes(b"no image")
    with pytest.raises(FitError, match=r"none of \d+ images could be scored"):
        score(data, trained, "all")


def test_an_image_that_does_not_fit_is_named_and_the_others_scored(
    dataset: Path, trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    passes, real = list[int](), group_encoder.stream_encoder

    def limited(*arguments: Any) -> Any:
        passes.append(1)
        if len(passes) in (3, 4, 6):
            raise torch.OutOfMemoryError("CUDA out of memory.\nMore.")
        return real(*arguments)

    monkeypatch.setattr(group_encoder, "stream_encoder", limited)
    monkeypatch.setattr(encode, "with_less", partial(always_halved, encode.with_less))
    result = score(dataset, trained, "all")
    assert (result.images, result.failed) == (11, 1), "the fifth image went through with half the handful"
    (line,) = capsys.readouterr().err.splitlines()
    assert ": out of memory on cuda (CUDA out of memory.)" in line


def always_halved(with_less: Any, device: torch.device, run: Any, amount: int) -> Any:
    """Images of one group have no handful to halve: act as if they had."""
    return with_less(device, lambda number: run(max(1, number // 2)), 2 * amount)


def test_an_image_of_the_data_set_is_not_replaced(dataset: Path, trained: Path, tmp_path: Path) -> None:
    image = next((dataset / "red").glob("*.png"))
    (tmp_path / "link.csv").symlink_to(image)
    for output in (image, tmp_path / "link.csv"):
        with pytest.raises(FitError, match="would be replaced"):
            score(dataset, trained, "all", output)


def test_an_empty_split_is_refused(dataset: Path, trained: Path) -> None:
    with pytest.raises(DataError, match="no images in --split test"):
        score(dataset, trained, "test")


def test_another_data_set_is_warned_of(
    dataset: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    score(dataset, trained)
    assert "another data set" not in capsys.readouterr().err
    data = shutil.copytree(dataset, tmp_path / "data")
    (data / "red" / "2.png").unlink()
    score(data, trained)
    assert "was trained on another data set" in capsys.readouterr().err


def test_a_report_that_cannot_be_written_keeps_the_scores(
    fit: Fit, dataset: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise FitError("page.html: cannot be written (No space left on device)")

    monkeypatch.setattr("fitcli.evaluation.evaluate.write_report", fail)
    table, page = tmp_path / "scores.csv", tmp_path / "page.html"
    result = fit("evaluate", dataset, "--checkpoint", trained, "--json", "--csv", table, "--report", page)
    assert result.exit_code == 1
    assert "page.html: cannot be written" in result.stderr
    assert json.loads(result.stdout)["failed"] == 0
    assert table.exists()
