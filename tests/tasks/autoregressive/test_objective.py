"""A decoder is trained on the sequences of its images, with the next-token loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.pictures import colored
from support.small_runs import first_batch, run_of, two_classes

from fitcli.execution.plan import ExecutionPlan
from fitcli.execution.run import run_job
from fitcli.patches.levels import to_levels
from fitcli.tasks.autoregressive.next_token import next_token_loss
from fitcli.tasks.autoregressive.sequences import SequenceConfig, from_sequence, shift_right, to_sequence
from fitcli.tasks.class_targets import ClassLabels
from models.build import build
from models.config import DecoderConfig


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_classes(tmp_path_factory.mktemp("data"), (24, 16), 4)


def test_what_a_decoder_sees(data: Path, tmp_path: Path) -> None:
    """Against the sequences of the reference, one image at a time, and the plain loss."""
    run = run_of(data, tmp_path / "run", task="autoregressive", order="snake", levels=16)
    objective, batch = first_batch(run)
    assert isinstance(run.config.details, SequenceConfig)
    assert isinstance(run.config.model, DecoderConfig)
    assert (run.config.model.vocabulary, run.config.model.starts, run.config.model.classes) == (16, 2, 2)
    model: Any = build(run.config.model)
    images = [run.dataset.train[index] for _, index in batch.showings]
    targets, ids = [], []
    for sample in images:
        number = int(sample.path.stem)
        pixels = colored((24, 16), (60, 80, 70) if sample.target == 0 else (90, 70, 100), number)
        targets.append(to_sequence(to_levels(pixels, 16), (4, 4), "snake"))
        ids.append(shift_right(targets[-1], 16 + sample.target))
        assert from_sequence(targets[-1], (4, 4), 4, "snake").shape == (24, 16, 3)
    assert isinstance(batch.target, ClassLabels)
    assert batch.target.numbers.tolist() == [sample.target for sample in images]
    logits = model(torch.cat(ids), batch.groups, batch.target.numbers)
    expected = next_token_loss(logits, torch.cat(targets))
    assert run_job(objective.job(model, batch), ExecutionPlan()).loss.item() == pytest.approx(expected.item(), rel=1e-6)
