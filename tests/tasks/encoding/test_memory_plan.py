"""A pass is planned within a limit, or within all free memory if nobody set one; a continued pass keeps its plan."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fitcli.device.runtime import choose_runtime
from fitcli.errors import ImageError
from fitcli.images.array_image import ArrayReader
from fitcli.memory.budget import Work
from fitcli.streaming.journal import FolderJournal
from fitcli.tasks.classify.task import TASK as CLASSIFY
from fitcli.tasks.encoding import memory_plan
from fitcli.tasks.encoding.memory_plan import encoding_work, plan_encoding
from fitcli.tasks.load import load_run

CPU, PATH = choose_runtime("cpu", "fp32"), Path("image.tif")


@pytest.fixture
def work(trained: Path) -> Work:
    checkpoint = load_run(trained, CPU, CLASSIFY)
    image = ArrayReader(np.zeros((64, 64, 3), np.uint8))
    return encoding_work(checkpoint, image, 400, "fp32", keep_reads=False, finish_bytes=0, keep_state=False)


def test_a_larger_limit_computes_more_groups_together(work: Work) -> None:
    small, large = (plan_encoding(PATH, work, CPU, memory, None) for memory in (128 << 20, 2 << 30))
    assert sum(small.parts.values()) <= small.budget_bytes == 128 << 20
    assert 1 <= small.handful <= large.handful


def test_a_limit_that_is_too_low_names_the_image(work: Work) -> None:
    with pytest.raises(ImageError, match=r"image\.tif: "):
        plan_encoding(PATH, work, CPU, 1000, None)


def test_without_a_limit_all_free_memory_may_be_used(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_plan, "default_budget", lambda runtime: 1000)
    monkeypatch.setattr(memory_plan, "free_bytes", lambda runtime: 1 << 30)
    assert plan_encoding(PATH, work, CPU, None, None).budget_bytes == 1 << 30
    monkeypatch.setattr(memory_plan, "free_bytes", lambda runtime: 1000)
    with pytest.raises(ImageError):
        plan_encoding(PATH, work, CPU, None, None)


def test_a_continued_pass_keeps_its_plan(work: Work, tmp_path: Path) -> None:
    plans = []
    for memory in (128 << 20, 2 << 30):
        state = FolderJournal(tmp_path / "state", {"purpose": "test"})
        try:
            plans.append(plan_encoding(PATH, work, CPU, memory, state))
        finally:
            state.close()
    assert plans[0] == plans[1]
