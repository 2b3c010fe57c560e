"""A pass is planned within the memory limit, leaves out background, and its state belongs to one job."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fitcli.device.runtime import choose_runtime
from fitcli.errors import FitError, OutOfMemory
from fitcli.images.array_image import ArrayReader
from fitcli.images.open import open_image
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.classify.task import TASK as CLASSIFY
from fitcli.tasks.encoding import encode, group_encoder
from fitcli.tasks.encoding.encode import EncodingSettings, encoding, warn_of_background
from fitcli.tasks.load import load_run
from models.encoder import FITClassifier

CPU = choose_runtime("cpu", "fp32")


@pytest.fixture
def checkpoint(trained: Path) -> Checkpoint[FITClassifier]:
    return load_run(trained, CPU, CLASSIFY)


def half_empty() -> ArrayReader:
    """An image whose left half is constant."""
    pixels = np.full((128, 256, 3), 200, np.uint8)
    pixels[:, 128:] = np.random.default_rng(0).integers(0, 256, (128, 1, 3), np.uint8)
    return ArrayReader(pixels)


def test_the_background_threshold_is_that_of_the_training_unless_set(checkpoint: Checkpoint[FITClassifier]) -> None:
    preprocessing = replace(checkpoint.config.preprocessing, background=0.1)
    config = replace(checkpoint.config, preprocessing=preprocessing)
    assert EncodingSettings().threshold(config) == 0.1
    assert EncodingSettings(background=0.3).threshold(config) == 0.3
    assert EncodingSettings(background=None).threshold(config) is None


def test_background_groups_are_left_out(checkpoint: Checkpoint[FITClassifier]) -> None:
    with encoding(checkpoint, half_empty(), CPU, EncodingSettings(background=0.05), purpose="test") as job:
        side = job.grid.patch * job.grid.group
        assert job.places == [place for place in job.grid.coordinates() if place[1] * side >= 128]
        assert len(job.groups.number) == len(job.places)
        latents = job.run(lambda share: None)
    assert latents.shape[0] == len(job.places)


def test_a_limit_that_is_too_low_names_the_image(checkpoint: Checkpoint[FITClassifier]) -> None:
    settings = EncodingSettings(memory_bytes=1000)
    with (
        pytest.raises(OutOfMemory, match=r"^array: 2 groups need at least"),
        encoding(checkpoint, half_empty(), CPU, settings, purpose="test"),
    ):
        pass


@pytest.mark.parametrize("keep_reads", [False, True])
def test_memory_that_runs_out_in_a_pass_is_one_pass_more_with_half_the_groups(
    checkpoint: Checkpoint[FITClassifier], monkeypatch: pytest.MonkeyPatch, keep_reads: bool
) -> None:
    settings = EncodingSettings(background=None)
    with encoding(checkpoint, half_empty(), CPU, settings, purpose="test", keep_reads=keep_reads) as job:
        expected = job.run(lambda share: None)
        reads = None if job.reads is None else job.reads.get(slice(0, 2))
    assert job.plan.handful == 2
    handfuls, shares = fail_passes(monkeypatch, {1}), list[float]()
    with encoding(checkpoint, half_empty(), CPU, settings, purpose="test", keep_reads=keep_reads) as job:
        torch.testing.assert_close(job.run(shares.append), expected)
        if job.reads is not None:
            torch.testing.assert_close(job.reads.get(slice(0, 2)), reads)
    assert handfuls == [2, 1]
    assert sum(shares) == pytest.approx(1)
    assert min(shares) < 0, "the progress of the first pass is taken back"


def test_memory_that_runs_out_twice_names_the_image(
    checkpoint: Checkpoint[FITClassifier], monkeypatch: pytest.MonkeyPatch
) -> None:
    handfuls = fail_passes(monkeypatch, {1, 2})
    with (
        pytest.raises(OutOfMemory, match=r"^array: out of memory on cuda \(CUDA error: out of memory\)"),
        encoding(checkpoint, half_empty(), CPU, EncodingSettings(background=None), purpose="test") as job,
    ):
        job.run(lambda share: None)
    assert handfuls == [2, 1]


def test_memory_that_runs_out_after_a_pass_names_the_image(checkpoint: Checkpoint[FITClassifier]) -> None:
    with (
        pytest.raises(OutOfMemory, match=r"^array: out of memory on cuda"),
        encoding(checkpoint, half_empty(), CPU, EncodingSettings(), purpose="test"),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory.")


def test_passes_of_the_same_work_are_planned_once(
    checkpoint: Checkpoint[FITClassifier], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    plan = encode.plan_encoding

    def counted(*arguments: Any) -> Any:
        asked.append(arguments)
        return plan(*arguments)

    monkeypatch.setattr(encode, "plan_encoding", counted)
    for plans, expected in (({}, 2), (None, 6)):
        asked.clear()
        settings = EncodingSettings(background=None, plans=plans)
        for width in (256, 256, 512) * 2:
            image = ArrayReader(np.zeros((128, width, 3), np.uint8))
            with encoding(checkpoint, image, CPU, settings, purpose="test") as job:
                assert job.plan.handful == width // 128
        assert len(asked) == expected


def fail_passes(monkeypatch: pytest.MonkeyPatch, which: set[int]) -> list[int]:
    """Let memory run out at the end of some passes, counted from 1; return the list of all handfuls to come."""
    handfuls, real = list[int](), group_encoder.stream_encoder

    def limited(*arguments: Any) -> torch.Tensor:
        handfuls.append(arguments[3].handful)
        latents = real(*arguments)
        if len(handfuls) in which:
            raise torch.AcceleratorError("CUDA error: out of memory\nCUDA kernel errors might be reported later")
        return latents

    monkeypatch.setattr(group_encoder, "stream_encoder", limited)
    return handfuls


def test_a_state_is_kept_after_an_error_and_belongs_to_its_job(
    checkpoint: Checkpoint[FITClassifier], dataset: Path, tmp_path: Path
) -> None:
    settings = EncodingSettings(state=tmp_path / "state")
    path = next((dataset / "red").glob("*.png"))
    with (
        open_image(path) as image,
        suppress(InterruptedError),
        encoding(checkpoint, image, CPU, settings, purpose="classify", keep_reads=True) as job,
    ):
        assert job.reads is not None
        plan = job.plan
        raise InterruptedError
    assert len(list((tmp_path / "state").iterdir())) == 1
    with (
        open_image(path) as image,
        pytest.raises(FitError, match="was begun with purpose classify, not embed"),
        encoding(checkpoint, image, CPU, settings, purpose="embed", keep_reads=True),
    ):
        pass
    with open_image(path) as image:
        with encoding(checkpoint, image, CPU, settings, purpose="classify", keep_reads=True) as job:
            assert job.plan == plan
            latents = job.run(lambda share: None)
        assert not (tmp_path / "state").exists()
        with encoding(checkpoint, image, CPU, EncodingSettings(), purpose="classify") as job:
            assert torch.equal(latents, job.run(lambda share: None))


def test_a_warning_if_almost_all_is_background(capsys: pytest.CaptureFixture[str]) -> None:
    for kept, groups, threshold in ((2, 16, 0.02), (1, 16, None), (1, 1, 0.02)):
        warn_of_background(Path("a.tif"), kept, groups, threshold)
    assert capsys.readouterr().err == ""
    warn_of_background(Path("a.tif"), 1, 16, 0.02)
    assert "a.tif: 15 of 16 groups are left out as background; if they show" in capsys.readouterr().err
